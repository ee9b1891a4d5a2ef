"""A snapshot as a file: sparse, whole or not there, and gone on with where it was broken off."""

import fcntl
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.cloud.ebs import Direct
from builder.errors import BuilderError
from builder.formats.blocks import BLOCK_SIZE

_ZEROS = bytes(BLOCK_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A snapshot that is a file now."""

    size: int
    """Bytes of the volume."""
    blocks: int
    """That the snapshot has; all else are holes."""
    fetched: int
    kept: int
    """Blocks that an earlier run had fetched."""


def download(
    direct: Direct,
    snapshot: str,
    path: Path,
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Downloaded:
    """Make `path` the volume of a completed snapshot. Every block is held against its checksum as it arrives.

    Until it is whole it is PATH.part, beside which PATH.part.blocks says what is in it: whoever runs it again fetches
    the rest. BuilderError when something is at `path` already, unless it may be replaced.
    """
    if path.exists() and not replace:
        raise BuilderError(f"{path} is there already", hint="use another name, or --force to put this in its place")
    listing = direct.blocks(snapshot)
    size = listing.volume_size << 30
    part, notes = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.blocks")
    with _alone(part) as descriptor:
        known = _known(notes, snapshot) if os.fstat(descriptor).st_size == size else set()
        os.ftruncate(descriptor, 0 if not known else size)
        os.ftruncate(descriptor, size)
        known &= listing.tokens.keys()
        if not known:
            notes.write_text(f"{snapshot}\n")
        left = sorted(listing.tokens.keys() - known)
        total = len(listing.tokens) * BLOCK_SIZE

        def write(index: int, data: bytes) -> None:
            if data != _ZEROS:
                os.pwrite(descriptor, data, index * BLOCK_SIZE)

        progress(len(known) * BLOCK_SIZE, total)
        with notes.open("a") as file:
            done = itertools.count(len(known) + 1)

            def written(index: int) -> None:
                file.write(f"{index}\n")
                file.flush()
                progress(next(done) * BLOCK_SIZE, total)

            direct.get(snapshot, listing, left, write, written)
        os.fsync(descriptor)
        part.rename(path)
    notes.unlink()
    return Downloaded(size=size, blocks=len(listing.tokens), fetched=len(left), kept=len(known))


@contextmanager
def _alone(part: Path) -> Iterator[int]:
    """The file to write to, which no other process writes to."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        raise BuilderError(
            f"{part} is being written by another process", hint="wait for it, or use another name"
        ) from None
    finally:
        os.close(descriptor)


def _known(notes: Path, snapshot: str) -> set[int]:
    """The blocks that are in the part of this very snapshot."""
    try:
        lines = notes.read_text(errors="replace").split("\n")[:-1]  # what has no end of line was cut short
    except FileNotFoundError:
        return set()
    if lines[:1] != [snapshot]:
        return set()
    return {int(each) for each in lines[1:] if each.isdecimal()}
