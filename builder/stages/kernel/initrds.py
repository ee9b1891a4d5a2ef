"""How an initrd is made: what each generator is told, and the command line. Pure.

What it is told stays in the tree, so that an initrd that the guest makes after an update boots there as well.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """One way to make an initrd for kernel `version`."""

    configuration: tuple[tuple[str, str], ...]
    """Path in the tree, text."""
    command: tuple[str, ...]
    output: str


def generator(name: str, version: str, modules: tuple[str, ...]) -> Generator:
    """What to write and run; `name` is initramfs-tools or dracut."""
    return {"initramfs-tools": _initramfs_tools, "dracut": _dracut}[name](version, modules)


def _initramfs_tools(version: str, modules: tuple[str, ...]) -> Generator:
    """Only the listed modules: 6 MB, where the default of MODULES=most makes 36 (and PV-GRUB reads it slowly).

    RESUME=none keeps its hook from looking at the swap of the machine that builds.
    """
    output = f"/boot/initrd.img-{version}"
    return Generator(
        configuration=(
            ("/etc/initramfs-tools/conf.d/ami-factory", "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n"),
            ("/etc/initramfs-tools/modules", "".join(f"{name}\n" for name in modules)),
        ),
        command=("mkinitramfs", "-o", output, version),
        output=output,
    )


def _dracut(version: str, modules: tuple[str, ...]) -> Generator:
    output = f"/boot/initramfs-{version}.img"
    names = " ".join(modules)
    return Generator(
        configuration=(
            (
                "/etc/dracut.conf.d/ami-factory.conf",
                f'hostonly="no"\nreproducible="yes"\nearly_microcode="no"\ncompress="gzip"\nadd_drivers+=" {names} "\n',
            ),
        ),
        command=(
            "dracut",
            "--force",
            "--no-hostonly",
            "--reproducible",
            "--kver",
            version,
            "--add-drivers",
            names,
            output,
        ),
        output=output,
    )
