"""The disk around a root file system for PV-GRUB hd00: an MBR, and one partition to the disk's end. No boot loader:
PV-GRUB is a kernel image of EC2's.
"""

from pathlib import Path

from builder.formats import mbr
from builder.formats.mbr import FIRST, LINUX, SECTOR, Partition
from builder.host.ext_image import Place

OVERHEAD = FIRST * SECTOR
"""Bytes of a disk before its root."""


def lay_out(size: int) -> Partition:
    """The root of a disk of `size` bytes, a whole number of MiB."""
    return Partition(number=1, kind=LINUX, first=FIRST, sectors=size // SECTOR - FIRST)


def place(image: Path, size: int) -> Place:
    """Of the root file system."""
    root = lay_out(size)
    return Place(file=image, offset=root.offset, size=root.size)


def write_table(image: Path, signature: str) -> None:
    """Into an image that has its size already."""
    sector = mbr.format_mbr(signature, lay_out(image.stat().st_size))
    with image.open("r+b") as file:
        file.write(sector)
