"""The header of a qcow2 image, as far as it says which other files the image needs.

Source: QEMU's docs/interop/qcow2.txt ("Header", "Incompatible features").
"""

import struct
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
HEADER = 104
"""Bytes to read; version 2 has 72 of them."""

_DATA_FILE = 1 << 2
_LARGEST_NAME = 1023  # the format's own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Qcow2:
    version: int
    size: int
    """Bytes of the disk."""
    backing: bool
    """It is only what differs from another file."""
    data_file: bool
    """Its data lie in another file."""
    encrypted: bool


def read_header(data: bytes) -> Qcow2:
    """What the first HEADER bytes say. ValueError for what is no qcow2 of version 2 or 3."""
    if len(data) < 72 or data[:4] != MAGIC:
        raise ValueError("no qcow2 header")
    version, backing, name, _, size, crypt = struct.unpack_from(">IQIIQI", data, 4)
    if version not in (2, 3):
        raise ValueError(f"qcow2 of version {version}, which is neither 2 nor 3")
    if version == 3 and len(data) < HEADER:
        raise ValueError("the header ends early")
    features = struct.unpack_from(">Q", data, 72)[0] if version == 3 else 0
    if name > _LARGEST_NAME:
        raise ValueError("the name of its backing file is longer than the format allows")
    return Qcow2(
        version=version,
        size=size,
        backing=bool(backing or name),
        data_file=bool(features & _DATA_FILE),
        encrypted=bool(crypt),
    )
