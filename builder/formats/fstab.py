"""/etc/fstab of a guest of EC2: a function of the disks it will see, never a text that is edited.

What may be relied on: the root is there, or nothing boots. Of the other disks EC2 formats ephemeral0 and the swap
volume, and no other ("formatted and mounted as /mnt", "available; not mounted": EC2 Developer Guide, API version
2008-02-01, "Instance Storage"), so the others are named in comments only. A disk may be missing all the same: an
instance can be launched with another block device mapping, and m3 types ignore the AMI's. So every line but the root's
is `nofail` with a short device timeout: a boot never waits for a disk that nobody attached.

A volume with partitions is named by the UUIDs in it. NVMe disks have names that change from boot to boot, and nobody
formats them: of those the guest itself makes a file system on the first (stages/configure/hvm), and the line names its
label.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

Naming = Literal["sd", "xvd"]
DEVICE_TIMEOUT = (
    90  # seconds, systemd's own: nothing waits for it, and an emulated machine was seen to start udev after 30
)
OPTIONAL = f"nofail,x-systemd.device-timeout={DEVICE_TIMEOUT}"
ROOT_OPTIONS = "defaults,noatime"
GROW = "x-systemd.growfs"
FIRST = "ephemeral0"

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
    """As the guest's kernel names it, or by what is on it; "" when neither is stable."""
    what: str
    """Size and kind."""
    line: Line | None
    when_missing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A disk with partitions that a guest boots from, by what is in them: its name is not stable on every type."""

    root: str
    """UUID of the root file system."""
    esp: str = ""
    """UUID of the EFI system partition's, XXXX-XXXX, if it has one."""


def guest_name(device: str, naming: Naming) -> str:
    """EC2's classic name (sda2) as the kernel shows it: /dev/sda2 to xenU kernels, /dev/xvda2 to pvops kernels."""
    bare = device.removeprefix("/dev/")
    return "/dev/" + (f"xvd{bare.removeprefix('sd')}" if naming == "xvd" and bare.startswith("sd") else bare)


def explain_fstab(
    disks: Iterable[AttachedDisk], *, naming: Naming, filesystem: str, volume: Volume | None = None
) -> tuple[Explained, ...]:
    """Every disk the guest will see, the root first; `volume` is what it boots from when that has partitions."""
    root = guest_name("sda1", naming)
    explained = [*_volume(volume, filesystem)] if volume else [_root(root, "the image", filesystem, ROOT_OPTIONS)]
    for disk in disks:
        name = guest_name(disk.device, naming) if disk.device else ""
        entry = _entry(disk, name) if name or volume is None else _unstable_entry(disk)
        shown = name or (entry.device if entry else "")
        missing = "nothing: no line depends on it"
        if entry is not None:
            lost = "no swap" if disk.virtual == "swap" else f"{entry.mount_point} stays an empty directory on the root"
            missing = f"{lost}; the boot does not wait for it ({DEVICE_TIMEOUT} s in the background)"
        explained.append(
            Explained(
                virtual=disk.virtual,
                device=shown,
                what=f"{disk.size_gb} GB {disk.kind}",
                line=entry,
                when_missing=missing,
            )
        )
    return tuple(explained)


def fstab(disks: Iterable[AttachedDisk], *, naming: Naming, filesystem: str, volume: Volume | None = None) -> str:
    """The file's text for these disks: root, ephemeral0 on /mnt, swap; what nobody formats as comments."""
    lines = ["# Written by ami-factory for the disks of the instance type. Optional disks never hold up a boot."]
    for each in explain_fstab(disks, naming=naming, filesystem=filesystem, volume=volume):
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


def _root(device: str, what: str, filesystem: str, options: str) -> Explained:
    line = Line(device=device, mount_point="/", filesystem=filesystem, options=options, check=1)
    return Explained(
        virtual="root", device=device, what=f"{what}, {filesystem}", line=line, when_missing="no boot at all"
    )


def _volume(volume: Volume, filesystem: str) -> Iterator[Explained]:
    """The root, which grows to its volume, and the ESP."""
    yield _root(f"UUID={volume.root}", "the volume's last partition", filesystem, f"{ROOT_OPTIONS},{GROW}")
    if volume.esp:
        device = f"UUID={volume.esp}"
        yield Explained(
            virtual="esp",
            device=device,
            what="the volume's EFI system partition, vfat",
            line=Line(device=device, mount_point="/boot/efi", filesystem="vfat", options=f"umask=0077,{OPTIONAL}"),
            when_missing="/boot/efi stays an empty directory; UEFI needs it before the kernel runs",
        )


def _unstable_entry(disk: AttachedDisk) -> Line | None:
    """The line of an NVMe disk: the guest itself makes the first one's file system, and gives it this label."""
    if disk.virtual != FIRST:
        return None
    return Line(device=f"LABEL={FIRST}", mount_point="/mnt", filesystem="auto", options=f"defaults,noatime,{OPTIONAL}")


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
