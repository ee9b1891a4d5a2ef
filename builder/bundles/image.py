"""What is bundled: an image in a file, on a block device, or from a pipe."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.bundles.contract import SIZE_LIMIT
from builder.errors import BuilderError, RecipeError
from builder.formats.sparse import Block, read_blocks, read_pipe

STDIN = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An open image, to be read once."""

    where: str
    """What it is called in messages: its path, or "standard input"."""
    size: int
    descriptor: int
    pipe: bool = False

    def blocks(self) -> Iterator[Block]:
        """All of it, in order. BuilderError when there is more or less of it than `size`, or when it was written to
        meanwhile: that is known at the end only, so what was made of the blocks is worthless until the end is reached.
        """
        if self.pipe:
            yield from read_pipe(self.descriptor, self.size)
            return
        before = _state(self.descriptor)
        yield from read_blocks(self.descriptor, self.size)
        if _state(self.descriptor) != before:
            raise BuilderError(
                f"{self.where} changed while it was being bundled",
                hint="let nothing write to it meanwhile, and run again",
            )


@contextmanager
def open_image(path: Path | None, size: int | None = None, *, limit: int | None = SIZE_LIMIT) -> Iterator[Image]:
    """An image of 1 byte to 10 GiB; of standard input when `path` is None or "-".

    The size of a pipe has to be told; of a file or device it need not, and must be the real one. Without a `limit` it
    may be larger than EC2 takes: other clouds do.
    """
    if path is None or path == STDIN:
        yield _opened(sys.stdin.fileno(), "standard input", size, limit)
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BuilderError(f"the image {path} cannot be read: {error.strerror}") from error
    try:
        yield _opened(descriptor, str(path), size, limit)
    finally:
        os.close(descriptor)


def _opened(descriptor: int, where: str, size: int | None, limit: int | None) -> Image:
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(kind):
        raise BuilderError(f"{where} is a directory, not an image")
    seekable = stat.S_ISREG(kind) or stat.S_ISBLK(kind)
    found = os.lseek(descriptor, 0, os.SEEK_END) if seekable else size
    if found is None:
        raise RecipeError(f"the size of the image from {where} is not known", hint="say how many bytes it has")
    if size is not None and size != found:
        raise BuilderError(f"the image {where} has {found} bytes, not {size} as was said")
    _check_size(where, found, limit)
    return Image(where=where, size=found, descriptor=descriptor, pipe=not seekable)


def _check_size(where: str, size: int, limit: int | None) -> None:
    if size <= 0:
        raise BuilderError(f"the image {where} has 0 bytes", hint="give a file system image or a disk image")
    if limit is not None and size > limit:
        raise BuilderError(
            f"the image {where} has {size} bytes, EC2 takes at most {limit} (10 GiB) for an instance-store AMI",
            hint="make it smaller (image.size in a recipe)",
        )


def _state(descriptor: int) -> tuple[int, int]:
    """What tells that somebody wrote to a file; of a device only its size can be seen."""
    found = os.fstat(descriptor)
    if stat.S_ISBLK(found.st_mode):
        return os.lseek(descriptor, 0, os.SEEK_END), 0
    return found.st_size, found.st_mtime_ns
