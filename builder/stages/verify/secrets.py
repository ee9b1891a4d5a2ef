"""Private keys and AWS keys in bytes: where they begin. Pure but for reading an image.

An image is searched block by block, as it lies on the disk, not file by file: what was removed is found too, a sparse
file costs nothing, and 430 MB take less than the appliance's start. What is compressed or encrypted is not seen.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRIVATE_KEY = "private-key"
AWS_KEY = "aws-key"
MOST = 500
"""No more are told of one image."""
_BLOCK = 8 * 1024**2
_AROUND = 2048
"""Bytes before and after a word that are looked at."""

# A program that reads keys holds the first line too: what makes a key are the lines after it. In JSON a line ends in
# \n, in YAML it is indented; RFC 1421 and OpenPGP put header lines first.
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr])+"
    rb"(?:[A-Za-z-]{3,20}: [^\n]{0,200}\n){0,8}(?:\s|\\[nr])*[A-Za-z0-9+/=]{32}"
)
_LONGEST_HEAD = 80
# An access key id (IAM User Guide, "IAM identifiers": AKIA of users, ASIA of sessions), and a secret near it. The ids
# and secrets of AWS's own documents end in EXAMPLE and EXAMPLEKEY.
_ID = re.compile(rb"(?<![A-Za-z0-9])A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9])(?<!EXAMPLE)")
_SECRET = re.compile(rb"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])(?<!EXAMPLEKEY)")
_WORDS = ((b"PRIVATE KEY", PRIVATE_KEY), (b"AKIA", AWS_KEY), (b"ASIA", AWS_KEY))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Hit:
    """Something secret: where in the bytes, and what."""

    offset: int
    kind: str


def find_secrets(data: bytes) -> Iterator[Hit]:
    """What is secret in some bytes, each place once."""
    for word, kind in _WORDS:
        at = data.find(word)
        while at >= 0:
            found = _key_at(data, at) if kind == PRIVATE_KEY else _id_at(data, at)
            if found >= 0:
                yield Hit(offset=found, kind=kind)
            at = data.find(word, at + 1)


def scan(image: Path, *, block: int = _BLOCK) -> tuple[Hit, ...]:
    """What is secret in an image, by offset, at most MOST. Holes are not read; memory is that of a few blocks."""
    found: set[Hit] = set()
    with image.open("rb", buffering=0) as file:
        for start, end in _extents(file.fileno(), file.seek(0, os.SEEK_END)):
            for at in range(start, end, block):
                # A window overlaps the next, so that what lies across two blocks is whole in one of them.
                first = max(start, at - 2 * _AROUND)
                data = os.pread(file.fileno(), min(at + block, end) - first, first)
                found.update(Hit(offset=first + hit.offset, kind=hit.kind) for hit in find_secrets(data))
                if len(found) >= MOST:
                    return tuple(sorted(found)[:MOST])
    return tuple(sorted(found))


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where there is data. A device and a file system without holes are one extent."""
    at = 0
    with suppress(OSError):  # ENXIO: no more data
        while at < size:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            yield start, at


def _key_at(data: bytes, at: int) -> int:
    """The offset of the key whose first line has `PRIVATE KEY` at `at`, or -1."""
    start = data.rfind(b"-----BEGIN ", max(0, at - _LONGEST_HEAD), at)
    return start if start >= 0 and _KEY.match(data, start, start + _AROUND) else -1


def _id_at(data: bytes, at: int) -> int:
    """The offset of an access key id that has a secret near it, or -1."""
    if not _ID.match(data, at):
        return -1
    around = data[max(0, at - _AROUND // 2) : at + _AROUND // 2]
    return at if any(_is_mixed(each[0]) for each in _SECRET.finditer(around)) else -1


def _is_mixed(text: bytes) -> bool:
    """A digest in hex or a word of one case is no secret."""
    return all(re.search(kind, text) for kind in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
