"""The GUID partition table of a disk of 512-byte sectors: bytes only (UEFI Specification 2.10, chapter 5).

A disk has a protective MBR, a header and the entries at its start, and entries and header once more at its end.
"""

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR = 512
ENTRIES = 128
"""Entries of a table; the specification asks for room for at least these."""
START_SECTORS = 34
"""What the table takes at the start of a disk: MBR, header, entries."""
END_SECTORS = 33
"""What it takes at the end: entries, header."""

BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
"""Where GRUB keeps core.img on a disk with GPT (GRUB manual, "BIOS installation")."""
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
"""UEFI Specification 2.10, 5.3.3."""
ROOT = {
    "x86_64": uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    "i386": uuid.UUID("44479540-f297-41b2-9af7-d131d5f0458a"),
}
"""The root of an architecture (Discoverable Partitions Specification): by it systemd-repart knows what to grow."""

_SIGNATURE = b"EFI PART"
_REVISION = 0x00010000
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRY_SECTORS = ENTRIES * _ENTRY.size // SECTOR
_MBR_ENTRY = 446
_BOOT_CODE = 440
_LARGEST = 0xFFFFFFFF


def begins(start: bytes) -> bool:
    """Whether a disk whose first two sectors these are has a table (UEFI Specification, 5.3.2)."""
    return start[SECTOR:].startswith(_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One entry. `number` is its place in the table, from 1, which is the number that Linux gives it."""

    number: int
    kind: uuid.UUID
    identity: uuid.UUID
    first: int
    """Sector."""
    last: int
    """Sector, inclusive."""
    name: str = ""
    attributes: int = 0

    @property
    def offset(self) -> int:
        """Bytes from the start of the disk."""
        return self.first * SECTOR

    @property
    def size(self) -> int:
        """Bytes."""
        return (self.last - self.first + 1) * SECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A whole table, of a disk of `sectors`."""

    identity: uuid.UUID
    sectors: int
    partitions: tuple[Partition, ...]

    @property
    def first_usable(self) -> int:
        return START_SECTORS

    @property
    def last_usable(self) -> int:
        return self.sectors - END_SECTORS - 1


def format_gpt(table: Table) -> tuple[bytes, bytes]:
    """What goes to the start of the disk, and what goes to its end. ValueError for partitions that do not fit."""
    _check(table)
    entries = _format_entries(table.partitions)
    last = table.sectors - 1
    start = _format_mbr(table.sectors) + _format_header(table, entries, own=1, other=last, at=2) + entries
    return start, entries + _format_header(table, entries, own=last, other=1, at=last - _ENTRY_SECTORS)


def with_boot_code(start: bytes, code: bytes) -> bytes:
    """The start of a disk with a boot loader's first sector in it: of that only what lies before the MBR's own data."""
    return code[:_BOOT_CODE].ljust(_BOOT_CODE, b"\0") + start[_BOOT_CODE:]


def parse_gpt(start: bytes, end: bytes, sectors: int) -> Table:
    """A table from the first 34 and the last 33 sectors of a disk. ValueError says what is wrong with either copy."""
    if len(start) < START_SECTORS * SECTOR or len(end) < END_SECTORS * SECTOR:
        raise ValueError("the disk is too small for a partition table")
    if start[510:512] != b"\x55\xaa":
        raise ValueError("its first sector is no MBR")
    kinds = [start[_MBR_ENTRY + 16 * index + 4] for index in range(4)]
    if kinds != [0xEE, 0, 0, 0]:
        raise ValueError("its MBR does not protect the whole disk")
    last = sectors - 1
    primary = _parse_header(
        start[SECTOR : 2 * SECTOR], start[2 * SECTOR : START_SECTORS * SECTOR], "primary", (1, last, 2)
    )
    backup = _parse_header(
        end[-SECTOR:], end[-END_SECTORS * SECTOR : -SECTOR], "backup", (last, 1, last - _ENTRY_SECTORS)
    )
    if primary != backup:
        raise ValueError("its primary and its backup table are not the same")
    identity, entries = primary
    table = Table(identity=identity, sectors=sectors, partitions=_parse_entries(entries))
    _check(table)
    return table


def _check(table: Table) -> None:
    used: dict[int, int] = {}
    for each in sorted(table.partitions, key=lambda partition: partition.first):
        if not 1 <= each.number <= ENTRIES or [p.number for p in table.partitions].count(each.number) > 1:
            raise ValueError(f"partition {each.number}: no number of its own between 1 and {ENTRIES}")
        if not table.first_usable <= each.first <= each.last <= table.last_usable:
            raise ValueError(f"partition {each.number}: not within the disk")
        if any(each.first <= end for end in used.values()):
            raise ValueError(f"partition {each.number}: lies over another")
        if len(each.name.encode("utf-16-le")) > 72:
            raise ValueError(f"partition {each.number}: its name is longer than 36 characters")
        used[each.number] = each.last


def _format_mbr(sectors: int) -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, _LARGEST))
    return entry.rjust(_MBR_ENTRY + 16, b"\0").ljust(510, b"\0") + b"\x55\xaa"


def _format_entries(partitions: Sequence[Partition]) -> bytes:
    entries = bytearray(ENTRIES * _ENTRY.size)
    for each in partitions:
        name = each.name.encode("utf-16-le")
        place = (each.number - 1) * _ENTRY.size
        _ENTRY.pack_into(
            entries, place, each.kind.bytes_le, each.identity.bytes_le, each.first, each.last, each.attributes, name
        )
    return bytes(entries)


def _format_header(table: Table, entries: bytes, *, own: int, other: int, at: int) -> bytes:
    def packed(checksum: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE, _REVISION, _HEADER.size, checksum, 0, own, other, table.first_usable, table.last_usable,
            table.identity.bytes_le, at, ENTRIES, _ENTRY.size, zlib.crc32(entries),
        )  # fmt: skip

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def _parse_header(sector: bytes, entries: bytes, which: str, places: tuple[int, int, int]) -> tuple[uuid.UUID, bytes]:
    """The disk's identity and the entries, when the header is whole and says where it and they are."""
    fields = _HEADER.unpack_from(sector)
    signature, revision, size, checksum, _, own, other, _, _, identity, at, count, length, entries_checksum = fields
    if signature != _SIGNATURE or revision != _REVISION or size != _HEADER.size:
        raise ValueError(f"it has no {which} partition table")
    if zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != checksum:
        raise ValueError(f"the {which} partition table's checksum is wrong")
    if (own, other, at) != places:
        raise ValueError(f"the {which} partition table is of a disk of another size")
    if (count, length) != (ENTRIES, _ENTRY.size) or zlib.crc32(entries) != entries_checksum:
        raise ValueError(f"the {which} partition table's entries are damaged")
    return uuid.UUID(bytes_le=identity), entries


def _parse_entries(entries: bytes) -> tuple[Partition, ...]:
    found = []
    for number, fields in enumerate(_ENTRY.iter_unpack(entries), start=1):
        kind, identity, first, last, attributes, name = fields
        if any(kind):
            found.append(
                Partition(
                    number=number,
                    kind=uuid.UUID(bytes_le=kind),
                    identity=uuid.UUID(bytes_le=identity),
                    first=first,
                    last=last,
                    name=name.decode("utf-16-le", errors="replace").rstrip("\0"),
                    attributes=attributes,
                )
            )
    return tuple(found)
