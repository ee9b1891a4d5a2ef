"""Instance types: what EC2 says of each (instance_types.json), and the disks that an instance-store AMI gets.

Counts, sizes and architectures are DescribeInstanceTypes' facts (see refresh.py). Device names are not in them: EC2
takes those from the AMI's block device mapping, with these classic places (EC2 Developer Guide, API version 2008-02-01,
"Instance Storage"): /dev/sda1 is the root everywhere; on m1.small and c1.medium /dev/sda2 is ephemeral0, formatted, and
/dev/sda3 is swap; elsewhere ephemeral0 is /dev/sdb, then sdc, sdd, sde. The swap volume of m1.small and c1.medium has
900 MB and no other type has one (EC2 User Guide, "Instance store volumes").
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from builder.errors import RecipeError
from builder.formats.toml import printable

_FILE = Path(__file__).with_name("instance_types.json")
_PARTITIONED = {"m1.small", "c1.medium"}
_SWAP_GB = 1
SUCH_AS = {
    ("pv", "x86_64"): "m1.small",
    ("pv", "i386"): "m1.small",
    ("hvm", "x86_64"): "t3.micro",
    ("hvm", "i386"): "t2.micro",
}
"""A type for each virtualization and architecture."""
# These are trimmed when an instance starts, so they come without a file system (EC2 User Guide, "SSD instance store
# volumes"); every other disk that is not NVMe may have been formatted by EC2.
_TRIMMED = ("i2", "r3")
# Families under Xen (EC2 User Guide, "Amazon EC2 instance types": hypervisor type, and the previous generations). All
# others are built on the Nitro System, or are bare metal.
_XEN = frozenset(
    (
        "c1", "c3", "c4", "cc1", "cc2", "cg1", "cr1", "d2", "f1", "g2", "g3", "g3s", "h1", "hi1", "hs1", "i2", "i3",
        "m1", "m2", "m3", "m4", "p2", "p3", "r3", "r4", "t1", "t2", "x1", "x1e",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of the instance store."""

    virtual: str
    """EC2's name in a block device mapping: ephemeral0, ephemeral1, ... or swap."""
    device: str
    """The classic name without /dev/: sda2, sdb, ...; "" for NVMe, whose names are not stable."""
    size_gb: int
    kind: str
    """hdd, ssd or nvme."""
    formatted: bool
    """EC2 hands it out with a file system (swap: with a swap area). Only ephemeral0 and swap are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """What EC2 offers under one name."""

    name: str
    architectures: tuple[str, ...]
    virtualization: tuple[str, ...]
    """pv, hvm or both."""
    root_devices: tuple[str, ...]
    """instance-store, ebs or both."""
    memory_mib: int
    vcpus: int
    disks: tuple[Disk, ...]

    @property
    def nitro(self) -> bool:
        """Its volumes are NVMe disks, and it may have UEFI."""
        return self.name.partition(".")[0] not in _XEN or ".metal" in self.name


def refusal(kind: InstanceType, architecture: str, virtualization: str) -> str:
    """Why no AMI of ours starts on a type, or "": pv AMIs come from the instance store, hvm ones from EBS."""
    if architecture not in kind.architectures:
        return f"{kind.name} cannot run {architecture} (it runs {', '.join(kind.architectures)})"
    if virtualization not in kind.virtualization:
        return f"{kind.name} does not offer {virtualization} (it offers {', '.join(kind.virtualization)})"
    if virtualization == "pv" and "instance-store" not in kind.root_devices:
        return f"{kind.name} cannot start from the instance store, where pv AMIs are, only from EBS"
    if virtualization == "hvm" and "ebs" not in kind.root_devices:
        return f"{kind.name} cannot start from EBS, where hvm AMIs are, only from the instance store"
    if virtualization == "hvm" and kind.name in _PARTITIONED:
        return f"{kind.name} has its disks at places (sda2, sda3) that a disk with partitions of its own does not have"
    return ""


def beside_a_disk(disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
    """The disks where a root disk with partitions leaves room for them: what was sda2, beside sda1, goes to the next
    letter that is free. EC2 puts a virtual device where the AMI's block device mapping says."""
    taken = {disk.device for disk in disks}
    free = (name for letter in "bcdefghijklmnopqrstuvwxyz" if (name := f"sd{letter}") not in taken)
    return tuple(replace(disk, device=next(free)) if disk.device.startswith("sda") else disk for disk in disks)


def instance_type(name: str) -> InstanceType:
    """One type. RecipeError names the nearest when there is none of that name."""
    # Reads one line: parsing all 1400 takes longer than a warm plan wants to spend.
    text = _text()
    begin = text.find(f'\n"{name}": [') if name.replace(".", "").replace("-", "").isalnum() else -1
    if begin < 0:
        raise unknown(name)
    begin = text.index("[", begin)
    return _parse(name, json.loads(text[begin : text.index("\n", begin)].rstrip(",")))


def names() -> tuple[str, ...]:
    """All types, sorted."""
    return tuple(name for name in json.loads(_text()) if name != "source")


def nearest(name: str) -> str:
    """The type whose name looks most like this one, or "" when none does."""
    import difflib

    found = difflib.get_close_matches(name.lower()[:40], names(), n=1, cutoff=0.5)
    return found[0] if found else ""


def unknown(name: str) -> RecipeError:
    """The error for a type that EC2 does not have."""
    near = nearest(name)
    return RecipeError(
        f'"{printable(name)}" is not an instance type' + (f'; did you mean "{near}"?' if near else ""),
        hint="the types known are those of builder/catalog/instance_types.json",
    )


def source() -> str:
    """Where the facts come from."""
    return str(json.loads("{" + _text().split("\n", 2)[1].rstrip(",") + "}")["source"])


@cache
def _text() -> str:
    return _FILE.read_text(encoding="ascii")


def _parse(name: str, row: list[Any]) -> InstanceType:
    architectures, virtualization, root_devices, memory, vcpus, disks, nvme = row
    return InstanceType(
        name=name,
        architectures=tuple(architectures),
        virtualization=tuple(virtualization),
        root_devices=tuple(root_devices),
        memory_mib=memory,
        vcpus=vcpus,
        disks=_disks(name, [(size, kind) for count, size, kind in disks for _ in range(count)], nvme),
    )


def _disks(name: str, sizes: list[tuple[int, str]], nvme: bool) -> tuple[Disk, ...]:
    partitioned = name in _PARTITIONED
    formats = not nvme and not name.startswith(_TRIMMED)
    disks = [
        Disk(
            virtual=f"ephemeral{index}",
            device="" if nvme else "sda2" if partitioned else f"sd{'bcdefghijklmnopqrstuvwxyz'[index]}",
            size_gb=size,
            kind="nvme" if nvme else kind,
            formatted=formats and index == 0,
        )
        for index, (size, kind) in enumerate(sizes)
    ]
    if partitioned:
        disks.append(Disk(virtual="swap", device="sda3", size_gb=_SWAP_GB, kind=disks[0].kind, formatted=True))
    return tuple(disks)
