"""The partition table of a disk's first sector, for one partition: bytes only.

The places of the fields are GRUB legacy's (grub 0.97, stage2/pc_slice.h), whose Xen port PV-GRUB is: of an entry it
reads the type, the first sector and the length, and it takes a table for one by the last two bytes alone.
"""

import struct
from dataclasses import dataclass

SECTOR = 512
FIRST = 2048
"""Where the partition begins: on a whole MiB, as every tool has put it since disks with 4 KiB sectors."""
LINUX = 0x83
_SIGNATURE = b"\x55\xaa"
_ENTRIES, _ENTRY = 446, struct.Struct("<B3sB3sII")
_COUNT = 4
_DISK = 440
# Cylinder, head and sector of what lies beyond cylinder 1023: the largest that can be said. Nothing reads them here.
_BEYOND = b"\xfe\xff\xff"
_PROTECTIVE = 0xEE
_MOST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One entry. `number` is its place in the table, from 1, which is the number that Linux gives it."""

    number: int
    kind: int
    first: int
    """Sector."""
    sectors: int

    @property
    def offset(self) -> int:
        return self.first * SECTOR

    @property
    def size(self) -> int:
        return self.sectors * SECTOR


def format_mbr(signature: str, partition: Partition) -> bytes:
    """The first sector of a disk, without boot code. `signature`: eight hex digits, by which Linux makes PARTUUIDs.
    ValueError for a partition that cannot be said."""
    if not 0 < partition.first <= _MOST or not 0 < partition.sectors <= _MOST:
        raise ValueError(f"a partition of {partition.sectors} sectors from {partition.first} on does not fit an MBR")
    sector = bytearray(SECTOR)
    struct.pack_into("<I", sector, _DISK, int(signature, 16))
    place = _ENTRIES + (partition.number - 1) * _ENTRY.size
    _ENTRY.pack_into(sector, place, 0, _BEYOND, partition.kind, _BEYOND, partition.first, partition.sectors)
    sector[-2:] = _SIGNATURE
    return bytes(sector)


def parse_mbr(sector: bytes, sectors: int) -> tuple[Partition, ...]:
    """The partitions of a disk of so many sectors. ValueError says why there are none, or what is wrong with one."""
    if len(sector) < SECTOR or sector[SECTOR - 2 : SECTOR] != _SIGNATURE:
        raise ValueError("its first sector ends without the signature of a partition table")
    found = []
    for number in range(1, _COUNT + 1):
        status, _, kind, _, first, length = _ENTRY.unpack_from(sector, _ENTRIES + (number - 1) * _ENTRY.size)
        if not kind or not length:
            continue
        if status not in (0, 0x80):
            raise ValueError("its first sector is no partition table")
        if not first or first + length > sectors:
            raise ValueError(f"partition {number} does not lie on the disk")
        found.append(Partition(number=number, kind=kind, first=first, sectors=length))
    if any(each.kind == _PROTECTIVE for each in found):
        raise ValueError("it has a GPT, which PV-GRUB does not read")
    if not found:
        raise ValueError("its partition table is empty")
    return tuple(found)


def begins(sector: bytes) -> bool:
    """Whether this is the first sector of a disk with such a table. Of an ext file system it is empty."""
    try:
        return bool(parse_mbr(sector, _MOST * 2))
    except ValueError:
        return False
