"""An instance type's disks in the two notations that EC2 has for them.

A bundle manifest maps virtual names to devices as the loader names them (`ephemeral0` to `sda2`), RegisterImage maps
device names with their directory to virtual names (`/dev/sda2` to `ephemeral0`).
"""

from collections.abc import Iterable

ROOT_DEVICE = "/dev/sda1"
"""Where EC2 puts the root of every instance-store AMI, whatever the guest's kernel calls it."""

EBS_ROOT_DEVICE = "/dev/xvda"
"""The same of an HVM AMI that starts from EBS; Amazon's own have it there. A guest with NVMe disks never sees it."""


PARTITIONED_ROOT_DEVICE = "/dev/sda"
"""Where an instance-store AMI is attached whose image is a disk; its first partition is then ROOT_DEVICE."""


def root_device(*, partitioned: bool) -> str:
    """Where the image of an instance-store AMI is attached."""
    return PARTITIONED_ROOT_DEVICE if partitioned else ROOT_DEVICE


def bundle_mapping(disks: Iterable[tuple[str, str]], *, partitioned: bool = False) -> tuple[tuple[str, str], ...]:
    """The manifest's mapping of (virtual, device) facts such as ("ephemeral0", "sda2"), with the root's two names.

    m1.small: ami=sda1, ephemeral0=sda2, root=/dev/sda1, swap=sda3, sorted by virtual name as ec2-ami-tools does.
    """
    short = ((virtual, device.removeprefix("/dev/")) for virtual, device in disks)
    image = root_device(partitioned=partitioned).removeprefix("/dev/")
    return tuple(sorted((("ami", image), ("root", ROOT_DEVICE), *short)))


def register_mappings(disks: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """RegisterImage's (device name, virtual name) pairs, sorted by device. Swap is the manifest's business only."""
    return tuple(
        sorted(
            (f"/dev/{device.removeprefix('/dev/')}", virtual)
            for virtual, device in disks
            if virtual.startswith("ephemeral")
        )
    )
