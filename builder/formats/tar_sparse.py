"""Where the bytes of a sparse file belong: the maps of holes in tar headers, and the numbers they are made of.

The formats are GNU tar's, as its manual has them under "Sparse Formats".
"""

import array
import re
from collections.abc import Iterator
from typing import NoReturn

from builder.errors import BuilderError

_EXTENTS_LIMIT = 5 << 20  # a 10 GiB file system of 1 KiB blocks, every other one a hole; 80 MiB of memory
_DECIMAL = re.compile(rb"[0-9]{1,19}")
_OCTAL = re.compile(rb" *([0-7]{1,12})[ \0]*")


class TarError(BuilderError):
    """A tar stream that holds something else than one image."""


class Extents:
    """Where the stored bytes belong: ascending, apart from one another, as 16 bytes each."""

    def __init__(self) -> None:
        self._offsets = array.array("Q")
        self._lengths = array.array("Q")
        self._end = 0
        self.stored = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._offsets, self._lengths, strict=True)

    @property
    def end(self) -> int:
        return self._end

    def add(self, offset: int, length: int) -> None:
        if len(self) == _EXTENTS_LIMIT:
            refuse_map(f"it has more than {_EXTENTS_LIMIT} entries")
        if offset < self._end:
            refuse_map(f"the entry at {offset} overlaps the one before it, which ends at {self._end}")
        if offset + length >= 1 << 63:
            refuse_map("an entry lies beyond what a file can hold")
        self._offsets.append(offset)
        self._lengths.append(length)
        self._end = offset + length
        self.stored += length


def refuse_map(why: str) -> NoReturn:
    raise TarError(f"the map of holes in the tar stream is wrong: {why}")


def add_entries(extents: Extents, table: bytes) -> bool:
    """Take up the entries of an old GNU header or of a block that extends it; whether all of them were filled in."""
    for at in range(0, len(table), 24):
        if not table[at + 12]:
            if any(table[at:]):
                refuse_map("it goes on after its end")
            return False
        offset = number(table[at : at + 12], "an offset of the map of holes")
        extents.add(offset, number(table[at + 12 : at + 24], "a length of the map of holes"))
    return True


def parse_map(text: bytes) -> Extents:
    """Format 0.1: offset, length, offset, length, apart by commas."""
    extents = Extents()
    numbers = _between_commas(text) if text else iter(())
    for offset in numbers:
        length = next(numbers, b"")
        extents.add(decimal(offset, "an offset of the map of holes"), decimal(length, "a length of the map of holes"))
    return extents


def _between_commas(text: bytes) -> Iterator[bytes]:
    """As `split`, one at a time: a map may have millions of entries."""
    at = 0
    while at <= len(text):
        comma = text.find(b",", at)
        end = comma if comma >= 0 else len(text)
        yield text[at:end]
        at = end + 1


def number(text: bytes, what: str) -> int:
    """Octal digits, or GNU's base-256."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    found = _OCTAL.fullmatch(text)
    if found is None:
        raise TarError(f"a header of the tar stream is damaged: {what} is {text!r}")
    return int(found[1], 8)


def decimal(text: bytes, what: str) -> int:
    if _DECIMAL.fullmatch(text) is None:
        raise TarError(f"an extended header of the tar stream is damaged: {what} is {text[:30]!r}")
    return int(text)
