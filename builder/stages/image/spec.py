"""The `image` stage: a file system made from the tree without root; the whole image, or on a disk with partitions."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """A disk with GPT around the root file system, which GRUB 2 boots from BIOS and from UEFI."""

    identity: str
    """GUID of the disk; those of its partitions follow from it."""
    architecture: str
    mkimage: str
    """Of the tree: grub-mkimage or grub2-mkimage."""
    esp: str
    """Serial number of the ESP's file system, eight hex digits; "" for a disk that only a BIOS boots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """Output: sparse `disk.raw`, and `blocks`: a line for every 512 KiB, the hex SHA-256 or `-` for a hole.

    Inputs: all layers, in order. Result: `{"size": bytes, "used": bytes, "digests": {...}}`.
    """

    VERSION: ClassVar[int] = 2

    size: int
    """Bytes, a multiple of 1 MiB; 0 for the tree's own size and `free` more. A disk is rounded up to whole GiB."""
    free: int
    """Bytes to leave free when `size` is 0."""
    filesystem: str
    features: str
    """mke2fs -O"""
    inode_size: int
    label: str
    uuid: str
    hash_seed: str
    source_epoch: int
    definition: str = ""
    """Digest of the stage's own mke2fs.conf (builder/stages/data.py)."""
    disk: DiskSpec | None = later(None)
    """None: the file system is the whole image, as PV-GRUB hd0 and the instance store have it, unless `mbr`."""
    mbr: str = later("")
    """Eight hex digits, the signature of a disk with an MBR whose only partition the file system is, as PV-GRUB hd00
    has it; "" for none."""
