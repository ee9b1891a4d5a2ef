"""What is mounted where, and what file system a volume is: read, never changed."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.fstab import Line, parse_fstab
from builder.host import process, tree_files

EXT = ("ext2", "ext3", "ext4")
DEFAULT_FILESYSTEM = "ext3"
"""For a volume that is of another kind: what ec2-bundle-vol makes then, and what every kernel and loader reads."""

# File systems that hold nothing but what the running kernel and its programs put there: never in an image.
_IN_MEMORY = frozenset(
    ("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
     "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs",
     "sysfs", "tmpfs", "tracefs")
)  # fmt: skip
_LONGEST_FSTAB = 1 << 20
LABEL_BYTES = 16
"""Of the label of ext2, ext3 and ext4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A line of /proc/self/mountinfo (proc(5))."""

    point: str
    type: str
    source: str
    device: str
    """major:minor"""

    @property
    def in_memory(self) -> bool:
        return self.type in _IN_MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a file system is called, and its kind; "" for what is not known."""

    filesystem: str = ""
    label: str = ""
    uuid: str = ""


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """All mounts, in the order in which they were made."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, source, *_) = before.split(), after.split()
        found.append(Mount(point=_plain(fields[4]), type=kind, source=_plain(source), device=fields[2]))
    return tuple(found)


def below(mounts: Iterable[Mount], volume: str) -> tuple[Mount, ...]:
    """The mounts inside a volume, the uppermost one of each place, outer ones first."""
    root = volume.rstrip("/") + "/"
    inside = {each.point: each for each in mounts if each.point.startswith(root) and each.point != root}
    return tuple(sorted(inside.values(), key=_point))


def holding(mounts: Iterable[Mount], path: str) -> Mount:
    """The mount that a path is on."""
    over = [each for each in mounts if (path.rstrip("/") + "/").startswith(each.point.rstrip("/") + "/")]
    return max(enumerate(over), key=lambda pair: (len(pair[1].point), pair[0]))[1]


def traits(mounts: Iterable[Mount], volume: Path, place: Path) -> Traits:
    """Of a mounted volume what its device says; of a plain directory what its own /etc/fstab calls the root.

    `place` is where the volume can be read.
    """
    mount = holding(mounts, str(volume))
    if mount.point == str(volume):
        return _of_device(mount)
    try:
        text = tree_files.read_start(place, "/etc/fstab", _LONGEST_FSTAB).decode(errors="replace")
        return _of_fstab(parse_fstab(text))
    except (OSError, ValueError, BuilderError):
        return Traits()


def _of_device(mount: Mount) -> Traits:
    device = Path(mount.source) if mount.source.startswith("/dev/") else Path("/dev/block", mount.device)
    if not device.exists():
        return Traits(filesystem=mount.type)
    asked = process.run(["blkid", "-p", "-o", "export", device.resolve()], capture=True, check=False)
    said = dict(line.partition("=")[::2] for line in asked.stdout.decode(errors="replace").splitlines())
    return Traits(filesystem=mount.type, label=_label(said.get("LABEL", "")), uuid=_uuid(said.get("UUID", "")))


def _of_fstab(lines: Iterable[Line]) -> Traits:
    root = next((each for each in lines if each.mount_point == "/"), None)
    if root is None:
        return Traits()
    name, _, value = root.device.partition("=")
    value = value.strip('"')
    return Traits(
        filesystem=root.filesystem,
        label=_label(value) if name == "LABEL" else "",
        uuid=_uuid(value) if name == "UUID" else "",
    )


def _label(text: str) -> str:
    """Longer ones of other file systems cannot be kept."""
    return text if len(text.encode()) <= LABEL_BYTES else ""


def _uuid(text: str) -> str:
    """Others have names of another form there: vfat's has eight digits."""
    try:
        return str(uuid.UUID(text)) if len(text) == 36 else ""
    except ValueError:
        return ""


def _point(mount: Mount) -> str:
    return mount.point


def _plain(field: str) -> str:
    """Blanks and backslashes stand there as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
