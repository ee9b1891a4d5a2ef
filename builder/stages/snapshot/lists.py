"""Lists of blocks of snapshots, and what has to be sent to get from one to the next.

A snapshot's list is like an image's (builder/formats/blocks.py), but for this: `-` stands for a block that was never
written, and one that was written with zeros, because its parent had data there, has the digest of zeros. So the
indices that ListSnapshotBlocks tells are exactly those with a digest. Its SHA-256 is a tag of the snapshot, and it is
kept under that name in a cache: what is not there is not guessed.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from builder.errors import BuilderError
from builder.formats.blocks import BLOCK_SIZE, ZERO, format_blocks, parse_blocks

BLOCKS_PER_GIB = (1 << 30) // BLOCK_SIZE
ZEROS = hashlib.sha256(bytes(BLOCK_SIZE)).hexdigest()
"""Digest of a block of zeros."""
_KEPT = 200
"""Lists; of an image of 8 GiB with 1 GiB of data one takes 160 KB."""

BlockList = tuple[str, ...]


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


def lengthened(blocks: Sequence[str], gib: int) -> BlockList:
    return (*blocks, *(ZERO,) * (gib * BLOCKS_PER_GIB - len(blocks)))


def child_of(parent: Sequence[str], image: Sequence[str]) -> BlockList:
    """The list of the snapshot that holds `image` and was started from `parent`; they are as long as one another."""
    return tuple(
        ZEROS if wanted == ZERO and before != ZERO else wanted for before, wanted in zip(parent, image, strict=True)
    )


def differing(parent: Sequence[str], child: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """(index, digest) of the blocks to send, in order."""
    pairs = enumerate(zip(parent, child, strict=True))
    return tuple((index, wanted) for index, (before, wanted) in pairs if wanted != before)


def agrees(blocks: Sequence[str], listed: Set[int]) -> bool:
    """Whether a list can be that of a snapshot with these blocks.

    A region may leave out of its listing what was written with zeros, and nothing else.
    """
    written = {index for index, digest in enumerate(blocks) if digest != ZERO}
    return listed <= written and all(blocks[index] == ZEROS for index in written - listed)


def digest_of_list(blocks: Sequence[str]) -> str:
    return hashlib.sha256(format_blocks(blocks)).hexdigest()


def keep(place: Path, blocks: Sequence[str]) -> str:
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


def _make_room(place: Path) -> None:
    used: Mapping[Path, float] = {}
    with suppress(OSError):  # another process makes room too
        used = {path: path.stat().st_mtime for path in place.iterdir()}
    for path in sorted(used, key=lambda path: used[path])[: max(0, len(used) - _KEPT)]:
        path.unlink(missing_ok=True)
