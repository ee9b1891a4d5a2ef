"""The file `blocks` beside an image: a line for every 512 KiB, the hex SHA-256 or `-` where all bytes are zero.

It is the image's digest in a form that can be compared block by block, and made without reading holes.
"""

import binascii
import hashlib
import io
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import overload

from builder.formats.sparse import Block, read_blocks

BLOCK_SIZE = 512 * 1024
ZERO = "-"
DIGEST = 32
"""Bytes of one."""
NOTHING = bytes(DIGEST)
"""ZERO, packed: it is the digest of nothing."""
_LINE = re.compile(rb"(?!0{64})[0-9a-f]{64}\n")
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


class BlockList(Sequence[str]):
    """Lines of a list, each the hex SHA-256 or ZERO; 32 bytes of memory for each, so 6 MiB for a volume of 100 GiB."""

    __slots__ = ("_packed",)

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._packed = b"".join(map(packed, lines))

    @classmethod
    def of(cls, joined: bytes) -> "BlockList":
        """Of digests in one piece, 32 bytes each, NOTHING for a block of zeros."""
        made = cls()
        made._packed = joined
        return made

    @property
    def joined(self) -> bytes:
        return self._packed

    def __len__(self) -> int:
        return len(self._packed) // DIGEST

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self._packed), DIGEST):
            yield unpacked(self._packed[start : start + DIGEST])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        start = range(len(self))[index] * DIGEST
        return unpacked(self._packed[start : start + DIGEST])

    def __eq__(self, other: object) -> bool:
        return self._packed == other._packed if isinstance(other, BlockList) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._packed)

    def __repr__(self) -> str:
        return f"BlockList({list(self)!r})"


def packed(line: str) -> bytes:
    return NOTHING if line == ZERO else bytes.fromhex(line)


def unpacked(digest: bytes) -> str:
    return ZERO if digest == NOTHING else digest.hex()


def format_blocks(digests: Iterable[str]) -> bytes:
    text = io.BytesIO()
    for each in digests:
        text.write(f"{each}\n".encode("ascii"))
    return text.getvalue()


def parse_blocks(text: bytes) -> BlockList:
    """ValueError for anything that `format_blocks` does not write."""
    joined = bytearray()
    for number, line in enumerate(io.BytesIO(text), start=1):
        if line == b"-\n":
            joined += NOTHING
        elif _LINE.fullmatch(line):
            joined += binascii.unhexlify(line[:-1])
        else:
            raise ValueError(f"line {number} is neither a SHA-256 nor {ZERO}, with the end of a line")
    return BlockList.of(bytes(joined))


def _digest(block: Block) -> str:
    assert block.data is not None
    return hashlib.sha256(block.data).hexdigest()
