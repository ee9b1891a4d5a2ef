"""Reading a file block by block without reading its holes."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError

BLOCK = 1 << 20
"""Bytes in a block: large enough that a thread's work outweighs handing it over, small enough for constant memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`length` bytes of a stream; `data` is None where all of them are zeros."""

    length: int
    data: bytes | bytearray | None = None


def disk_size(path: Path) -> int:
    """Bytes of a disk image, or of a block device, whose stat says 0."""
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def read_blocks(descriptor: int, size: int, length: int = BLOCK) -> Iterator[Block]:
    """The first `size` bytes of an open file, in blocks of `length` and a last one that may be shorter.

    The blocks depend on the content only: zeros are the same whether a hole or written. BuilderError if the file ends
    early.
    """
    zeros = bytes(length)
    start, end = _next_extent(descriptor, 0, size)
    for offset in range(0, size, length):
        stop = min(offset + length, size)
        if start >= stop:
            yield Block(length=stop - offset)
            continue
        if start <= offset and stop <= end:
            data: bytes | bytearray = _read(descriptor, offset, stop)
        else:
            data = bytearray(stop - offset)
            while start < stop:
                first, last = max(start, offset), min(end, stop)
                data[first - offset : last - offset] = _read(descriptor, first, last)
                if end > stop:
                    break
                start, end = _next_extent(descriptor, last, size)
        empty = data == (zeros if len(data) == length else bytes(len(data)))
        yield Block(length=len(data), data=None if empty else data)
        if end <= stop:
            start, end = _next_extent(descriptor, stop, size)


def read_pipe(descriptor: int, size: int, length: int = BLOCK) -> Iterator[Block]:
    """The same of a file that cannot be seeked in, which must end after `size` bytes: BuilderError if it does not."""
    zeros = bytes(length)
    for offset in range(0, size, length):
        data = _read_on(descriptor, offset, min(length, size - offset))
        empty = data == (zeros if len(data) == length else bytes(len(data)))
        yield Block(length=len(data), data=None if empty else data)
    if os.read(descriptor, 1):
        raise BuilderError(f"the image goes on after the {size} bytes that it was said to have")


def _next_extent(descriptor: int, offset: int, size: int) -> tuple[int, int]:
    """Where the next bytes that are not a hole start and end, from `offset` on; (size, size) if there are none."""
    try:
        start = os.lseek(descriptor, offset, os.SEEK_DATA)
        return (start, min(os.lseek(descriptor, start, os.SEEK_HOLE), size)) if start < size else (size, size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole is left, or the file got shorter between the two questions
            return size, size
        if error.errno == errno.EINVAL:  # a file system that does not know: all of it is data
            return offset, size
        raise


def _read(descriptor: int, start: int, stop: int) -> bytes:
    data = os.pread(descriptor, stop - start, start)
    while len(data) < stop - start:
        more = os.pread(descriptor, stop - start - len(data), start + len(data))
        if not more:
            raise BuilderError(f"the image ended at byte {start + len(data)} while it was being read")
        data += more
    return data


def _read_on(descriptor: int, done: int, length: int) -> bytearray:
    """The next `length` bytes of a pipe, of which `done` were read before."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = os.readv(descriptor, [view])
        if not count:
            raise BuilderError(f"the image ended after {done + length - len(view)} bytes while it was being read")
        view = view[count:]
    return data
