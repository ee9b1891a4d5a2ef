"""Facts of a disk that lie outside of its root tree: sizes, the partition table, boot code, file systems' own."""

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.formats import gpt
from builder.formats.gpt import SECTOR
from builder.host import process
from builder.host.ext_image import Place

_EXT_MAGIC = slice(1080, 1082)
_CODE = 440
_MBR_ENTRIES, _MBR_SIGNATURE = 446, slice(510, 512)
_NAMES = {
    gpt.EFI_SYSTEM: "EFI system",
    gpt.BIOS_BOOT: "BIOS boot",
    **{kind: f"Linux root ({architecture})" for architecture, kind in gpt.ROOT.items()},
}
_PIECE = 1 << 20
_NOTHING = ("<none>", "<not available>", "n/a", "(none)")
# Of a file system: what every write to it changes. That it was written to, the blocks tell.
_PASSING = {
    "Checksum", "Filesystem state", "Free blocks", "Free inodes", "Journal backup", "Last checked", "Last mount time",
    "Last write time", "Lifetime writes", "Mount count", "Overhead clusters", "Last mounted on",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A partition, or all of a disk that has none (number 0)."""

    number: int
    offset: int
    size: int
    kind: str = ""
    identity: str = ""
    name: str = ""
    ext: bool = False
    """It begins as an ext file system does."""
    digest: str = ""
    """SHA-256 of its bytes; of one without an ext file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What is around the file systems."""

    size: int
    table: str
    """`gpt`, `mbr` or `none`"""
    identity: str
    code: str
    """SHA-256 of the boot sector's code; "" where there is none."""
    parts: tuple[Part, ...]

    def facts(self, root: Part | None) -> dict[str, str]:
        """By name, for people; of the root partition no digest, since its files are compared one by one."""
        found = {"size": str(self.size), "partition table": self.table}
        if self.identity:
            found["disk identity"] = self.identity
        if self.code:
            found["boot code (SHA-256)"] = self.code
        for each in self.parts:
            if not each.number:
                continue
            what = f"partition {each.number}"
            found[what] = f"{each.offset // SECTOR}+{each.size // SECTOR} {each.kind}".strip()
            found[f"{what}: identity"] = each.identity
            found[f"{what}: name"] = each.name
            if each.digest and each != root:
                found[f"{what}: content (SHA-256)"] = each.digest
        return {name: value for name, value in found.items() if value}


def read_disk(image: Path) -> Disk:
    """What is on a disk, by its first and last sectors; a table that cannot be read counts as none."""
    with image.open("rb") as file:
        size = file.seek(0, 2)
        start = _at(file, 0, gpt.START_SECTORS * SECTOR)
        end = _at(file, max(0, size - gpt.END_SECTORS * SECTOR), gpt.END_SECTORS * SECTOR)
        table, identity, parts = _table(start, end, size)
        return Disk(
            size=size,
            table=table,
            identity=identity,
            code=hashlib.sha256(start[:_CODE]).hexdigest() if any(start[:_CODE]) else "",
            parts=tuple(_looked_at(file, each) for each in parts),
        )


def _table(start: bytes, end: bytes, size: int) -> tuple[str, str, list[Part]]:
    if gpt.begins(start):
        try:
            table = gpt.parse_gpt(start, end, size // SECTOR)
        except ValueError:
            return "gpt (damaged)", "", []
        parts = [
            Part(
                number=each.number,
                offset=each.offset,
                size=each.size,
                kind=_kind(each.kind),
                identity=str(each.identity),
                name=each.name,
            )
            for each in table.partitions
        ]
        return "gpt", str(table.identity), parts
    if start[_MBR_SIGNATURE] == b"\x55\xaa" and (parts := list(_primary(start, size))):
        return "mbr", start[_CODE : _CODE + 4].hex(), parts
    return "none", "", [Part(number=0, offset=0, size=size)]


def _primary(start: bytes, size: int) -> Iterator[Part]:
    """The primary partitions of an MBR that lie on the disk."""
    for number in range(1, 5):
        entry = start[_MBR_ENTRIES + 16 * (number - 1) : _MBR_ENTRIES + 16 * number]
        first, count = int.from_bytes(entry[8:12], "little"), int.from_bytes(entry[12:16], "little")
        if entry[4] and count and (first + count) * SECTOR <= size:
            yield Part(number=number, offset=first * SECTOR, size=count * SECTOR, kind=f"type {entry[4]:02x}")


def _kind(kind: uuid.UUID) -> str:
    return _NAMES.get(kind, str(kind))


def _looked_at(file: BinaryIO, part: Part) -> Part:
    """The same, and whether it is an ext file system, else its digest."""
    head = _at(file, part.offset, 2048)
    ext = head[_EXT_MAGIC] == b"\x53\xef"
    made = {name: getattr(part, name) for name in ("number", "offset", "size", "kind", "identity", "name")}
    return Part(**made, ext=ext, digest="" if ext or not part.number else _digest(file, part))


def _digest(file: BinaryIO, part: Part) -> str:
    digest, left = hashlib.sha256(), part.size
    file.seek(part.offset)
    while left and (piece := file.read(min(left, _PIECE))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def filesystem_facts(image: Path, offset: int) -> dict[str, str]:
    """What an ext file system says of itself, as `tune2fs -l` prints it; nothing of what it cannot read."""
    device = Place(file=image, offset=offset).device
    done = process.run(["tune2fs", "-l", device], capture=True, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    matched = (re.fullmatch(r"([^:]+):\s+(.*)", line) for line in lines)
    return {each[1]: each[2] for each in matched if each and each[1] not in _PASSING and each[2] not in _NOTHING}
