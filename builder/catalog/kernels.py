"""Kernels: how an image boots, read from kernels/NAME.toml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from builder.canonical import digest_of
from builder.catalog.tables import Table, suggestion, text, validated
from builder.errors import RecipeError
from builder.formats.toml import read

KernelName = Annotated[
    str, text(r"^[a-z0-9][a-z0-9.-]*$", "a kernel's name: lower case letters, digits, dots and dashes")
]
Aki = Annotated[str, text(r"^aki-[0-9a-f]{8}([0-9a-f]{9})?$", "the id of a kernel image, such as aki-919dcaf8")]
Architecture = Literal["x86_64", "i386"]
INSIDE = "inside"
"""The kernel that boots an existing image with what is in it already."""


PARTITIONED_LOADER = "pv-grub-hd00"
"""The PV-GRUB for a root on the first partition of a disk, whatever the one for roots without partitions is."""
PARTITIONED_ROOT = "(hd0,0)"
"""That partition, as menu.lst names it."""


class Pv(Table):
    """Booting as a paravirtual guest, through PV-GRUB. `loader` and `grub_root` are for roots without partitions."""

    loader: str = "pv-grub-hd0"
    payloads: tuple[str, ...] = ("gzip", "none")
    menu: str = "/boot/grub/menu.lst"
    grub_root: str = "(hd0)"
    disks: Literal["sd", "xvd"] = "xvd"
    command_line: str = "ro console=hvc0"
    unsupported: dict[Architecture, str] = Field(default_factory=dict)


class Filesystem(Table):
    """What the loader can read: mke2fs -O by file system, and the inode size."""

    ext3: str = ""
    ext4: str = ""
    inode_size: Annotated[int, Field(ge=128, le=1024)] = 256


class Hvm(Table):
    """Booting from a disk with partitions, through GRUB 2, which is made of the tree's own packages."""

    modules: tuple[str, ...] = ()
    mkimage: Literal["grub-mkimage", "grub2-mkimage"] = "grub-mkimage"
    menu: str = "/boot/grub/grub.cfg"
    command_line: str = "ro console=tty0 console=ttyS0,115200n8"
    packages: dict[Architecture, tuple[str, ...]] = Field(default_factory=dict)
    filesystem: Filesystem = Filesystem()


class Kernel(Table):
    """One file under kernels/."""

    name: str
    description: str = ""
    initrd: Literal["initramfs-tools", "dracut", "inside"]
    modules: tuple[str, ...]
    packages: dict[Architecture, tuple[str, ...]]
    virtualization: tuple[Literal["pv", "hvm"], ...] = Field(("pv", "hvm"), min_length=1)
    """What it boots as. One that is not here is refused, for the reason in `unsupported`."""
    pv: Pv = Pv()
    hvm: Hvm = Hvm()
    filesystem: Filesystem = Filesystem()
    aki: dict[Architecture, dict[str, Aki]] = Field(default_factory=dict)
    aki_partitioned: dict[Architecture, dict[str, Aki]] = Field(default_factory=dict)

    def digest(self) -> str:
        """Of everything the file says."""
        return digest_of(self.model_dump(mode="json"))

    def filesystem_for(self, virtualization: str) -> Filesystem:
        """What the loader of pv or hvm reads."""
        return self.hvm.filesystem if virtualization == "hvm" else self.filesystem

    def features(self, filesystem: str, virtualization: str = "pv") -> str:
        """mke2fs -O for ext3 or ext4."""
        return str(getattr(self.filesystem_for(virtualization), filesystem))

    def packages_for(self, virtualization: str, architecture: str) -> tuple[str, ...]:
        """What the kernel (pv: of any kind of guest) or the loader of hvm is in; none if there is none."""
        table: Mapping[Any, tuple[str, ...]] = self.hvm.packages if virtualization == "hvm" else self.packages
        return table.get(architecture, ())

    def refusal(self, virtualization: str, architecture: str) -> str:
        """Why no image of this kind can be made with it, or ""."""
        if virtualization in self.virtualization:
            return ""
        reasons: Mapping[Any, str] = self.pv.unsupported if virtualization == "pv" else {}
        why = f": {reasons[architecture]}" if architecture in reasons else ""
        return f"kernel {self.name} boots {' and '.join(self.virtualization)} images alone{why}"

    def aki_in(self, region: str, architecture: str, *, partitioned: bool = False) -> str:
        """The kernel image that boots this kernel, of an image without or with partitions; RecipeError names the
        regions that have one."""
        table, images = ("aki_partitioned", self.aki_partitioned) if partitioned else ("aki", self.aki)
        known: dict[str, str] = dict(images).get(architecture, {})  # type: ignore[call-overload]
        if region not in known:
            regions = ", ".join(sorted(known)) or "none"
            raise RecipeError(
                f"kernels/{self.name}.toml: {table}.{architecture}: no kernel image (AKI) for {region}",
                hint=f"it has one in: {regions}; add the region's own, or choose another region",
            )
        return known[region]


def kernel_names(directory: Path) -> tuple[str, ...]:
    """The kernels that there are."""
    return tuple(sorted(each.stem for each in directory.glob("*.toml")))


def load_kernel(directory: Path, name: str) -> Kernel:
    """Read kernels/NAME.toml. RecipeError: no such kernel (the nearest one), or all that is wrong with it."""
    known = kernel_names(directory)
    if name not in known:
        raise RecipeError(
            f'kernel: "{name[:64]}" is not a file under {directory}{suggestion(name, known)}',
            hint=f"there are: {', '.join(known) or 'none'}",
        )
    return validated(Kernel, read(directory / f"{name}.toml"), name=name)
