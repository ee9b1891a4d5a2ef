"""The files under /boot: which kernel there is, one that the loader can read, and what an initrd holds."""

import gzip
import re
from pathlib import Path

from builder.errors import BuilderError
from builder.formats import bzimage, initrd
from builder.host import tree_files, zstd

MODULES = "/usr/lib/modules"
INSIDE = "inside"
"""The initrd that the tree has already is kept."""
# Of Debian's names and of Fedora's.
_INITRDS = ("/boot/initrd.img-{version}", "/boot/initramfs-{version}.img", "/boot/initrd-{version}")


def find_versions(tree: Path) -> frozenset[str]:
    """Versions of the kernels that have modules in the tree. Fedora's and Debian's /lib is /usr/lib."""
    place = tree_files.follow(tree, MODULES)
    if not place.is_dir():
        return frozenset()
    return frozenset(each.name for each in place.iterdir() if (each / "kernel").is_dir())


def the_version(before: frozenset[str], after: frozenset[str]) -> str:
    """The one kernel that was installed. BuilderError for none or several: which one to boot is not ours to guess."""
    new = sorted(after - before)
    if len(new) != 1:
        raise BuilderError(
            f"the kernel packages brought {len(new)} kernels, not one: {', '.join(new) or 'none'}",
            hint="name packages of one kernel in kernels/NAME.toml, [packages]",
        )
    return new[0]


def newest(versions: frozenset[str]) -> str:
    """The kernel to boot of those that came with an image. BuilderError when there is none."""
    if not versions:
        raise BuilderError(
            f"the image has no kernel: there is none under {MODULES}",
            hint="name a kernel file whose packages the image's own package manager installs",
        )
    return max(versions, key=lambda name: [(int(n or 0), word) for word, n in re.findall(r"([^0-9]*)([0-9]*)", name)])


def find_initrd(tree: Path, version: str) -> str:
    """The path of the initrd that belongs to a kernel. BuilderError when there is none."""
    paths = [each.format(version=version) for each in _INITRDS]
    for path in paths:
        if tree_files.exists(tree, path):
            return path
    raise BuilderError(
        f"the image has no initrd for its kernel {version}: none of {', '.join(paths)}",
        hint="choose a kernel file that makes one: initrd = initramfs-tools or dracut",
    )


def find_kernel(tree: Path, version: str) -> str:
    """The path of a kernel under /boot; one that is only beside its modules (Fedora) is copied there."""
    path = f"/boot/vmlinuz-{version}"
    if tree_files.exists(tree, path):
        return path
    data = tree_files.read(tree, f"{MODULES}/{version}/vmlinuz")
    if data is None:
        raise BuilderError(f"kernel {version} has modules, but there is no {path}")
    tree_files.write(tree, path, data)
    return path


def readable_kernel(tree: Path, version: str, payloads: tuple[str, ...]) -> tuple[str, str]:
    """The kernel file that the boot menu is to name, and what its payload was repacked from ("" if it was not).

    A loader that does not read the packaged payload gets the ELF file itself, gzip'd, beside it. One that reads none
    (GRUB 2 on a PC) starts the kernel's own unpacking: that kernel is left as it is.
    """
    path = find_kernel(tree, version)
    if not payloads:
        return path, ""
    kernel = bzimage.parse_kernel(tree_files.read(tree, path) or b"")
    if kernel.compression in payloads:
        return path, ""
    elf = bzimage.unpack_kernel(kernel, zstd=zstd.unpack)
    copy = f"/boot/vmlinuz-{version}-pv"
    tree_files.write(tree, copy, gzip.compress(elf, compresslevel=6, mtime=0))
    return copy, kernel.compression


def check_initrd(tree: Path, version: str, path: str, modules: tuple[str, ...]) -> None:
    """BuilderError unless the initrd has an init, and each module is in it or built into the kernel."""
    data = tree_files.read(tree, path)
    if data is None:
        raise BuilderError(f"no initrd was made: {path} is not there")
    names = [entry.name for entry in initrd.read_initrd(data, zstd=zstd.unpack)]
    if "init" not in names:
        raise BuilderError(f"{path} holds no init")
    builtin = (tree_files.read(tree, f"{MODULES}/{version}/modules.builtin") or b"").decode(errors="replace").split()
    missing = initrd.missing_modules(modules, initrd.modules_in([*names, *builtin]))
    if missing:
        raise BuilderError(
            f"neither {path} nor the kernel itself has {', '.join(missing)}",
            hint="does this kernel package have these modules? see modules in kernels/NAME.toml",
        )
