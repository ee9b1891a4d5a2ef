"""The file `blocks` beside an image: a line for every 512 KiB, the hex SHA-256 or `-` where all bytes are zero.

It is the image's digest in a form that can be compared block by block, and made without reading holes.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from builder.formats.sparse import Block, read_blocks

BLOCK_SIZE = 512 * 1024
ZERO = "-"
_WORKERS = min(4, os.cpu_count() or 1)


def block_digests(descriptor: int, size: int, progress: Callable[[int], None] = lambda done: None) -> Iterator[str]:
    """The line of every block of an open file, in order. Every byte that is not in a hole is read once; hashing is
    spread over the cores (hashlib lets go of the interpreter's lock). `progress` hears of bytes done."""
    done = 0
    waiting: deque[tuple[Future[str] | None, int]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for block in read_blocks(descriptor, size, BLOCK_SIZE):
            waiting.append((None if block.data is None else pool.submit(_digest, block), block.length))
            while len(waiting) > 4 * _WORKERS:
                future, length = waiting.popleft()
                yield ZERO if future is None else future.result()
                done += length
                progress(done)
        for future, length in waiting:
            yield ZERO if future is None else future.result()
            done += length
        progress(done)


def format_blocks(digests: Sequence[str]) -> bytes:
    return "".join(f"{each}\n" for each in digests).encode()


def parse_blocks(text: bytes) -> tuple[str, ...]:
    """ValueError for anything that `format_blocks` does not write."""
    lines = text.decode("ascii").splitlines()
    for number, line in enumerate(lines, start=1):
        if line != ZERO and (len(line) != 64 or set(line) - set("0123456789abcdef")):
            raise ValueError(f"line {number} is neither a SHA-256 nor {ZERO}")
    if format_blocks(lines) != text:
        raise ValueError("the lines do not end as they should")
    return tuple(lines)


def _digest(block: Block) -> str:
    assert block.data is not None
    return hashlib.sha256(block.data).hexdigest()
