"""/etc/fstab of an instance-store guest: a function of the disks it will see, never a text that is edited.

What may be relied on: the root is there, or nothing boots. Of the other disks EC2 formats ephemeral0 and the swap
volume, and no other ("formatted and mounted as /mnt", "available; not mounted": EC2 Developer Guide, API version
2008-02-01, "Instance Storage"), so the others are named in comments only. A disk may be missing all the same: an
instance can be launched with another block device mapping, and m3 types ignore the AMI's. So every line but the root's
is `nofail` with a short device timeout: a boot never waits for a disk that nobody attached.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Naming = Literal["sd", "xvd"]
DEVICE_TIMEOUT = 30  # seconds; disks show up with the root disk, but udev tells of them late on a machine under load
OPTIONAL = f"nofail,x-systemd.device-timeout={DEVICE_TIMEOUT}"
ROOT_OPTIONS = "defaults,noatime"

_ESCAPES = {" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134", "#": r"\043"}


class AttachedDisk(Protocol):
    """A disk of an instance type, as the catalog describes it."""

    @property
    def virtual(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def size_gb(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def formatted(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry, in the order of its fields."""

    device: str
    mount_point: str
    filesystem: str
    options: str
    dump: int = 0
    check: int = 0

    @property
    def optional(self) -> bool:
        """Its absence neither stops the boot nor holds it up for long."""
        given = self.options.split(",")
        return "noauto" in given or (
            "nofail" in given and any(o.startswith("x-systemd.device-timeout=") for o in given)
        )

    def __str__(self) -> str:
        fields = (_escaped(each) for each in (self.device, self.mount_point, self.filesystem, self.options))
        return "\t".join((*fields, str(self.dump), str(self.check)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A disk that the guest will see, its line, and what happens when the disk is not there."""

    virtual: str
    """root, ephemeral0, ..., swap."""
    device: str
    """As the guest's kernel names it; "" when the name is not stable."""
    what: str
    """Size and kind."""
    line: Line | None
    when_missing: str


def guest_name(device: str, naming: Naming) -> str:
    """EC2's classic name (sda2) as the kernel shows it: /dev/sda2 to xenU kernels, /dev/xvda2 to pvops kernels."""
    bare = device.removeprefix("/dev/")
    return "/dev/" + (f"xvd{bare.removeprefix('sd')}" if naming == "xvd" and bare.startswith("sd") else bare)


def explain_fstab(disks: Iterable[AttachedDisk], *, naming: Naming, filesystem: str) -> tuple[Explained, ...]:
    """Every disk the guest will see, the root first."""
    root = guest_name("sda1", naming)
    line = Line(device=root, mount_point="/", filesystem=filesystem, options=ROOT_OPTIONS, check=1)
    explained = [
        Explained(
            virtual="root", device=root, what=f"the image, {filesystem}", line=line, when_missing="no boot at all"
        )
    ]
    for disk in disks:
        name = guest_name(disk.device, naming) if disk.device else ""
        entry = _entry(disk, name)
        missing = "nothing: no line depends on it"
        if entry is not None:
            lost = "no swap" if disk.virtual == "swap" else f"{entry.mount_point} stays an empty directory on the root"
            missing = f"{lost}; the boot does not wait for it ({DEVICE_TIMEOUT} s in the background)"
        explained.append(
            Explained(
                virtual=disk.virtual,
                device=name,
                what=f"{disk.size_gb} GB {disk.kind}",
                line=entry,
                when_missing=missing,
            )
        )
    return tuple(explained)


def fstab(disks: Iterable[AttachedDisk], *, naming: Naming, filesystem: str) -> str:
    """The file's text for these disks: root, ephemeral0 on /mnt, swap; what EC2 does not format as comments."""
    lines = ["# Written by ami-factory for the disks of the instance type. Optional disks never hold up a boot."]
    for each in explain_fstab(disks, naming=naming, filesystem=filesystem):
        if each.line is not None:
            lines.append(str(each.line))
        elif each.device:
            lines.append(f"# {each.device}: {each.virtual}, {each.what}, not formatted by EC2")
        else:
            lines.append(
                f"# {each.virtual}, {each.what}: its device name is not stable; format it and mount it by label"
            )
    return "\n".join(lines) + "\n"


def parse_fstab(text: str) -> tuple[Line, ...]:
    """The entries of a file. ValueError names the line that is none."""
    entries = []
    for number, row in enumerate(text.splitlines(), start=1):
        fields = row.split()
        if not fields or fields[0].startswith("#"):
            continue
        # fstab(5): the fourth field may be left out by old files, the last two default to 0.
        if not 3 <= len(fields) <= 6 or not all(each.isascii() and each.isdigit() for each in fields[4:]):
            raise ValueError(f"line {number}: not an fstab entry: {row.strip()[:80]}")
        device, mount_point, filesystem, options = (_plain(each) for each in (*fields[:4], "defaults")[:4])
        dump, check = (int(each) for each in (*fields[4:], "0", "0")[:2])
        entries.append(
            Line(device=device, mount_point=mount_point, filesystem=filesystem, options=options, dump=dump, check=check)
        )
    return tuple(entries)


def _entry(disk: AttachedDisk, name: str) -> Line | None:
    """The line of a disk that EC2 formats. Its file system is found by looking: EC2 used ext3, others may not."""
    if not name or not disk.formatted:
        return None
    if disk.virtual == "swap":
        return Line(device=name, mount_point="none", filesystem="swap", options=f"sw,{OPTIONAL}")
    return Line(device=name, mount_point="/mnt", filesystem="auto", options=f"defaults,noatime,{OPTIONAL}")


def _escaped(field: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in field)


def _plain(field: str) -> str:
    for character, escape in _ESCAPES.items():
        if character != "\\":
            field = field.replace(escape, character)
    return field.replace(_ESCAPES["\\"], "\\")
