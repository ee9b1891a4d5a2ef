"""What a guest does about its disks at boot: grow the root to its volume, and use the instance store's NVMe disk.

Nothing here can hold up a boot: the root grows while the system comes up, and a disk that is missing asks for nothing.
"""

from importlib.resources import files
from pathlib import Path

from builder.errors import BuilderError
from builder.host import tree_files
from builder.stages.configure.spec import HvmSpec

REPART = "/etc/repart.d/50-root.conf"
RULES = "/etc/udev/rules.d/90-ami-factory-ephemeral.rules"
UNIT = "/etc/systemd/system/ami-factory-ephemeral@.service"
PROGRAM = "/usr/libexec/ami-factory/ephemeral-disk"
_DATA = files(__package__).joinpath("hvm")
_PROGRAMS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib/systemd", "/lib/systemd")


def configure_disk(tree: Path, hvm: HvmSpec) -> None:
    """BuilderError when the tree lacks a program that this needs."""
    for program, package in (
        ("systemd-repart", "systemd-udev (Fedora) or systemd (Debian)"),
        ("systemd-growfs", "systemd"),
    ):
        _require(tree, program, "grows the root to its volume", f"add {package} to distribution.packages")
    tree_files.write(tree, REPART, _read("repart-root.conf"))
    if not hvm.ephemeral:
        return
    _require(tree, "mkfs.ext4", "makes the instance store's file system", "add e2fsprogs to distribution.packages")
    tree_files.write(tree, RULES, _read("ephemeral.rules"))
    tree_files.write(tree, UNIT, _read("ami-factory-ephemeral@.service"))
    tree_files.write(tree, PROGRAM, _read("ephemeral-disk.sh"), mode=0o755)


def _read(name: str) -> bytes:
    return _DATA.joinpath(name).read_bytes()


def _require(tree: Path, program: str, purpose: str, hint: str) -> None:
    if not any(tree_files.exists(tree, f"{place}/{program}") for place in _PROGRAMS):
        raise BuilderError(f"the tree has no {program}, which {purpose}", hint=hint)
