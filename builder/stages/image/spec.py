"""The `image` stage: an unpartitioned ext3 or ext4 file system, made from the tree without root."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """Output: sparse `disk.raw`, and `blocks`: a line for every 512 KiB, the hex SHA-256 or `-` for a hole.

    Inputs: all layers, in order. Result: `{"size": bytes, "used": bytes, "digests": {...}}`.
    """

    VERSION: ClassVar[int] = 1

    size: int
    """Bytes, a multiple of 1 MiB; 0 for the tree's own size and `free` more."""
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
