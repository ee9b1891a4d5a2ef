"""GRUB 2's images, made by the tree's own grub-mkimage in the sandbox, of the tree's own modules."""

from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError
from builder.host import tree_files
from builder.host.sandbox import Bind, run_in_tree
from builder.stages.image.spec import DiskSpec

PREFIX = "/boot/grub"
_MODULES = "/usr/lib/grub"
_PROGRAMS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
_WORK = "/run/ami-factory"
# All that our grub.cfg asks for is in the image itself: no modules have to be found on the disk.
_COMMON = (
    "part_gpt", "ext2", "search", "search_fs_uuid", "normal", "configfile", "linux", "test", "echo", "ls", "cat",
    "minicmd", "halt", "reboot", "terminal",
)  # fmt: skip
PLATFORMS = {
    "i386-pc": (*_COMMON, "biosdisk", "serial"),
    "x86_64-efi": (*_COMMON, "fat", "all_video"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """What a disk boots with."""

    boot: bytes
    """boot.img, as GRUB ships it."""
    core: bytes
    """core.img, as grub-mkimage makes it."""
    efi: Path | None
    """The program for UEFI's removable media path."""


def make_loader(tree: Path, disk: DiskSpec, uuid: str, work: Path) -> Loader:
    """Make what `disk` boots with into the empty directory `work`. BuilderError when the tree lacks GRUB."""
    if not any(tree_files.exists(tree, f"{place}/{disk.mkimage}") for place in _PROGRAMS):
        raise _missing(disk.mkimage)
    (work / "early.cfg").write_text(early_config(uuid))
    boot = tree_files.read(tree, f"{_MODULES}/i386-pc/boot.img")
    if boot is None:
        raise _missing(f"{_MODULES}/i386-pc/boot.img")
    _make(tree, disk, "i386-pc", work, "core.img")
    efi = None
    if disk.esp:
        _make(tree, disk, "x86_64-efi", work, "boot.efi")
        efi = work / "boot.efi"
    return Loader(boot=boot, core=(work / "core.img").read_bytes(), efi=efi)


def early_config(uuid: str) -> str:
    """What GRUB does before it has a menu: the disk's own root, by what it is and not by what it is called."""
    return f"search.fs_uuid {uuid} root hd0,gpt1\nset prefix=($root){PREFIX}\n"


def mkimage_command(program: str, platform: str, output: str) -> list[str]:
    return [
        program, f"--format={platform}", f"--directory={_MODULES}/{platform}", f"--prefix={PREFIX}",
        f"--config={_WORK}/early.cfg", f"--output={_WORK}/{output}", *PLATFORMS[platform],
    ]  # fmt: skip


def _make(tree: Path, disk: DiskSpec, platform: str, work: Path, output: str) -> None:
    if not tree_files.exists(tree, f"{_MODULES}/{platform}/moddep.lst"):
        raise _missing(f"{_MODULES}/{platform}")
    binds = [Bind(source=work, destination=_WORK, writable=True)]
    run_in_tree(tree, mkimage_command(disk.mkimage, platform, output), binds=binds, env={}, capture=True)


def _missing(what: str) -> BuilderError:
    return BuilderError(
        f"the tree has no {what}, of which the boot loader is made",
        hint="see [hvm.packages] in kernels/NAME.toml; does a script of the recipe remove it?",
    )
