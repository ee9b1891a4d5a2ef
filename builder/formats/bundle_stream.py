"""An image turned into a bundle's encrypted parts, in one pass.

    blocks -> tar -> SHA-1                       one thread
              tar -> deflate                     as many threads as there are cores, blocks in any order
                     deflate -> AES -> parts     one thread, blocks in order; SHA-1 of the parts on the way

No byte is read twice, zeros are neither read nor deflated again, and only a few blocks are held at a time, whatever
the image's size. All heavy work is done by C libraries that work without the interpreter's lock.
"""

import collections
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from builder.formats import gzip_stream, tar_member
from builder.formats.bundle_cipher import Encryptor, SessionKey
from builder.formats.gzip_stream import PRIMER, Level
from builder.formats.sparse import Block

PART_SIZE = 10 * 1024 * 1024

_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDigest:
    """A finished part."""

    length: int
    sha1: str


class PartSink(Protocol):
    """Takes the parts of a bundle as they are made, in order.

    `write` and `end` may block: that is the back-pressure. What a sink holds when the bundle fails is worthless; who
    made the sink clears it away.
    """

    def write(self, index: int, data: memoryview) -> None:
        """The next bytes of part `index`; valid during the call only."""
        ...

    def end(self, index: int, digest: PartDigest) -> None:
        """Part `index` is complete."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What is known once the stream has ended."""

    tar_sha1: str
    length: int
    parts: tuple[PartDigest, ...]


def seal(
    name: str,
    size: int,
    blocks: Iterable[Block],
    session: SessionKey,
    sink: PartSink,
    *,
    level: Level = "fast",
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], None] = lambda: None,
    workers: int | None = None,
) -> Sealed:
    """Encrypt an image of `size` bytes into parts, which `sink` takes. The bytes do not depend on `workers`.

    An error of any thread is raised here, as is Ctrl-C, after the work in hand (a few blocks) is done; what the sink
    holds is worthless then. `stop` is called before that: a sink whose `write` may be waiting must not wait any more.
    """
    workers = workers or len(os.sched_getaffinity(0))
    tar = hashlib.sha1(usedforsecurity=False)
    out = _Parts(sink, session)
    pending: collections.deque[tuple[int, Future[None], Future[None]]] = collections.deque()
    done = 0

    def settle() -> None:
        nonlocal done
        length, hashed, sealed = pending.popleft()
        hashed.result()
        sealed.result()
        done += length
        progress(min(done, size), size)

    with (
        ThreadPoolExecutor(1, "bundle-out") as order,
        ThreadPoolExecutor(1, "bundle-tar") as hasher,
        ThreadPoolExecutor(workers, "bundle-deflate") as deflaters,
    ):
        try:
            before = b""
            for block in _tar_blocks(name, size, blocks):
                deflated = _deflated(deflaters, block, level, before)
                pending.append((block.length, hasher.submit(_hash, tar, block), order.submit(out.add, deflated)))
                before = _end_of(before, block)
                if len(pending) > 4 * workers + 4:
                    settle()
            while pending:
                settle()
            return order.submit(out.finish, tar.hexdigest()).result()
        except BaseException:
            stop()
            for pool in (deflaters, hasher, order):
                pool.shutdown(wait=False, cancel_futures=True)
            raise


def largest_count(size: int) -> int:
    """How many parts an image of `size` bytes can have: what does not deflate grows by less than a thousandth."""
    tar = tar_member.BLOCK + size + tar_member.padding_after(size)
    return -(-(tar + tar // 1000 + 4096) // PART_SIZE)


def _tar_blocks(name: str, size: int, blocks: Iterable[Block]) -> Iterator[Block]:
    """Header, image and padding. Header and padding are blocks of their own, so that the image's stay aligned."""
    header = tar_member.format_header(name, size)
    yield Block(length=len(header), data=header)
    seen = 0
    for block in blocks:
        seen += block.length
        yield block
    if seen != size:
        raise ValueError(f"the blocks hold {seen} bytes, not {size}")
    yield Block(length=tar_member.padding_after(size))


def _hash(digest: "hashlib._Hash", block: Block) -> None:
    if block.data is not None:
        digest.update(block.data)
        return
    for start in range(0, block.length, len(_ZEROS)):
        digest.update(memoryview(_ZEROS)[: min(len(_ZEROS), block.length - start)])


def _deflated(pool: ThreadPoolExecutor, block: Block, level: Level, before: bytes) -> "Future[gzip_stream.Deflated]":
    """A block that is being deflated. Zeros are ready at once: handing over thousands of them would cost more."""
    if block.data is not None:
        return pool.submit(gzip_stream.deflate, block.data, level, before)
    ready: Future[gzip_stream.Deflated] = Future()
    ready.set_result(gzip_stream.deflate_zeros(block.length))
    return ready


def _end_of(before: bytes, block: Block) -> bytes:
    """The last bytes of the stream so far, as many as the next block looks at."""
    tail = _ZEROS[: min(block.length, PRIMER)] if block.data is None else bytes(block.data[-PRIMER:])
    return tail if len(tail) == PRIMER else (before + tail)[-PRIMER:]


class _Parts:
    """The end of the line: deflated blocks in order, to ciphertext, cut into parts."""

    def __init__(self, sink: PartSink, session: SessionKey) -> None:
        self._sink = sink
        self._trailer = gzip_stream.Trailer()
        self._cipher = Encryptor(session)
        self._parts: list[PartDigest] = []
        self._begin()
        self._header = gzip_stream.HEADER

    def add(self, deflated: "Future[gzip_stream.Deflated]") -> None:
        block = deflated.result()
        self._trailer.add(block)
        self._write(self._cipher.update(self._header + block.data))
        self._header = b""

    def finish(self, tar_sha1: str) -> Sealed:
        self._write(self._cipher.update(self._header + self._trailer.finish()))
        self._write(memoryview(self._cipher.finish()))
        self._end()
        return Sealed(
            tar_sha1=tar_sha1,
            length=sum(part.length for part in self._parts),
            parts=tuple(self._parts),
        )

    def _write(self, data: memoryview) -> None:
        while data:
            room = PART_SIZE - self._length
            if not room:
                self._end()
                self._begin()
                continue
            piece, data = data[:room], data[room:]
            self._sha1.update(piece)
            self._sink.write(len(self._parts), piece)
            self._length += len(piece)

    def _begin(self) -> None:
        self._length = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def _end(self) -> None:
        digest = PartDigest(length=self._length, sha1=self._sha1.hexdigest())
        self._sink.end(len(self._parts), digest)
        self._parts.append(digest)
