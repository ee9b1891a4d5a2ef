"""Lists of blocks of snapshots, and what has to be sent to get from one to the next.

A snapshot's list is like an image's (builder/formats/blocks.py), but for this: `-` stands for a block that was never
written, and one that was written with zeros, because its parent had data there, has the digest of zeros. So the
indices that ListSnapshotBlocks tells are exactly those with a digest. Its SHA-256 is a tag of the snapshot, and it is
kept under that name in a cache: what is not there is not guessed.
"""

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import overload

from builder.errors import BuilderError
from builder.formats.blocks import BLOCK_SIZE, DIGEST, NOTHING, ZERO, BlockList, format_blocks, parse_blocks

BLOCKS_PER_GIB = (1 << 30) // BLOCK_SIZE
_ZEROS = hashlib.sha256(bytes(BLOCK_SIZE)).digest()
ZEROS = _ZEROS.hex()
"""Digest of a block of zeros."""
_KEPT = 200
"""Lists; of an image of 8 GiB with 1 GiB of data one takes 160 KB."""


class Parts(Sequence[tuple[int, str]]):
    """(index, digest) of some blocks of a list, in order: those that a snapshot has of its own."""

    __slots__ = ("_blocks", "_indices")

    def __init__(self, blocks: BlockList, indices: Iterable[int]) -> None:
        self._blocks, self._indices = blocks, array("I", indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((index, self._blocks[index]) for index in self._indices)

    @overload
    def __getitem__(self, index: int) -> tuple[int, str]: ...
    @overload
    def __getitem__(self, index: slice) -> "Parts": ...
    def __getitem__(self, index: int | slice) -> "tuple[int, str] | Parts":
        if isinstance(index, slice):
            return Parts(self._blocks, self._indices[index])
        found = self._indices[index]
        return found, self._blocks[found]

    def without(self, done: Callable[[int, str], bool]) -> "Parts":
        return Parts(self._blocks, (index for index, digest in self if not done(index, digest)))


def read_image_blocks(path: Path, size: int) -> BlockList:
    """The list of an image of `size` bytes, as of its volume: as long as whole GiB. BuilderError for any other."""
    try:
        found = parse_blocks(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BuilderError(
            f"{path}: the image's list of blocks cannot be read: {error}", hint="build it again with --rebuild image"
        ) from None
    if len(found) != -(-size // BLOCK_SIZE):
        raise BuilderError(
            f"{path} has {len(found)} blocks, and the image has {-(-size // BLOCK_SIZE)}",
            hint="build it again with --rebuild image",
        )
    return lengthened(found, volume_size(size))


def volume_size(size: int) -> int:
    """Whole GiB that `size` bytes take, at least one."""
    return max(1, -(-size // (1 << 30)))


def lengthened(blocks: BlockList, gib: int) -> BlockList:
    return BlockList.of(blocks.joined.ljust(gib * BLOCKS_PER_GIB * DIGEST, NOTHING[:1]))


def child_of(parent: BlockList, image: BlockList) -> BlockList:
    """The list of the snapshot that holds `image` and was started from `parent`; they are as long as one another."""
    pairs = zip(_digests(parent), _digests(image), strict=True)
    return BlockList.of(
        b"".join(_ZEROS if wanted == NOTHING and before != NOTHING else wanted for before, wanted in pairs)
    )


def differing(parent: BlockList, child: BlockList) -> Parts:
    """The blocks to send, in order."""
    pairs = enumerate(zip(_digests(parent), _digests(child), strict=True))
    return Parts(child, (index for index, (before, wanted) in pairs if wanted != before))


def agrees(blocks: BlockList, listed: Set[int]) -> bool:
    """Whether a list can be that of a snapshot with these blocks.

    A region may leave out of its listing what was written with zeros, and nothing else.
    """
    return all(index < len(blocks) and blocks[index] != ZERO for index in listed) and all(
        index in listed or digest in (NOTHING, _ZEROS) for index, digest in enumerate(_digests(blocks))
    )


def digest_of_list(blocks: BlockList) -> str:
    return hashlib.sha256(format_blocks(blocks)).hexdigest()


def keep(place: Path, blocks: BlockList) -> str:
    """Keep a list in the cache; its digest. The lists that were used longest ago make room."""
    text = format_blocks(blocks)
    digest = hashlib.sha256(text).hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=place, prefix=".", delete=False) as file:
        file.write(text)
    Path(file.name).replace(place / digest)
    _make_room(place)
    return digest


def find(place: Path, digest: str) -> BlockList | None:
    """The list of that digest; None when it is not in the cache, or is damaged there."""
    path = place / digest
    try:
        text = path.read_bytes()
        if hashlib.sha256(text).hexdigest() != digest:
            return None
        os.utime(path)
        return parse_blocks(text)
    except (OSError, ValueError):
        return None


def _digests(blocks: BlockList) -> Iterator[bytes]:
    joined = blocks.joined
    return (joined[start : start + DIGEST] for start in range(0, len(joined), DIGEST))


def _make_room(place: Path) -> None:
    used: Mapping[Path, float] = {}
    with suppress(OSError):  # another process makes room too
        used = {path: path.stat().st_mtime for path in place.iterdir()}
    for path in sorted(used, key=lambda path: used[path])[: max(0, len(used) - _KEPT)]:
        path.unlink(missing_ok=True)
