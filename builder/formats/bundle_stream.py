"""An image turned into a bundle's encrypted parts, in one pass.

    blocks -> tar -> SHA-1                       one thread
              tar -> deflate                     as many threads as there are cores, blocks in any order
                     deflate -> AES -> parts     one thread, blocks in order; SHA-1 and SHA-256 on the way

No byte is read twice, zeros are neither read nor deflated again, and only a few blocks are held at a time, whatever
the image's size. All heavy work is done by C libraries that work without the interpreter's lock.
"""

import collections
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from builder.formats import gzip_stream, tar_member
from builder.formats.bundle_cipher import Encryptor, SessionKey
from builder.formats.sparse import Block

PART_SIZE = 10 * 1024 * 1024

_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDigest:
    """A finished part."""

    length: int
    sha1: str
    sha256: str


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
    ciphertext_sha256: str
    length: int
    parts: tuple[PartDigest, ...]


def seal(
    name: str,
    size: int,
    blocks: Iterable[Block],
    session: SessionKey,
    open_part: Callable[[int], BinaryIO],
    progress: Callable[[int], None] = lambda done: None,
    workers: int | None = None,
) -> Sealed:
    """Encrypt an image of `size` bytes into parts; `open_part(index)` says where each goes.

    An error of any thread is raised here, as is Ctrl-C, after
    the work in hand (a few blocks) is done; the part files are closed then, and what is in them is worthless.
    """
    workers = workers or len(os.sched_getaffinity(0))
    tar = hashlib.sha1(usedforsecurity=False)
    out = _Parts(open_part, session)
    pending: collections.deque[tuple[int, Future[None], Future[None]]] = collections.deque()
    done = 0

    def settle() -> None:
        nonlocal done
        length, hashed, sealed = pending.popleft()
        hashed.result()
        sealed.result()
        done += length
        progress(min(done, size))

    with (
        out,
        ThreadPoolExecutor(1, "bundle-out") as order,
        ThreadPoolExecutor(1, "bundle-tar") as hasher,
        ThreadPoolExecutor(workers, "bundle-deflate") as deflaters,
    ):
        try:
            for block in _tar_blocks(name, size, blocks):
                deflated = deflaters.submit(_deflate, block)
                pending.append((block.length, hasher.submit(_hash, tar, block), order.submit(out.add, deflated)))
                if len(pending) > 4 * workers + 4:
                    settle()
            while pending:
                settle()
        except BaseException:
            for pool in (deflaters, hasher, order):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
        return out.finish(tar.hexdigest())


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


def _deflate(block: Block) -> gzip_stream.Deflated:
    return gzip_stream.deflate_zeros(block.length) if block.data is None else gzip_stream.deflate(block.data)


class _Parts:
    """The end of the line: deflated blocks in order, to ciphertext, cut into parts."""

    def __init__(self, open_part: Callable[[int], BinaryIO], session: SessionKey) -> None:
        self._open_part = open_part
        self._trailer = gzip_stream.Trailer()
        self._cipher = Encryptor(session)
        self._whole = hashlib.sha256()
        self._parts: list[PartDigest] = []
        self._file: BinaryIO | None = None
        self._begin()
        self._write(self._cipher.update(gzip_stream.HEADER))

    def __enter__(self) -> "_Parts":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, deflated: "Future[gzip_stream.Deflated]") -> None:
        block = deflated.result()
        self._trailer.add(block)
        self._write(self._cipher.update(block.data))

    def finish(self, tar_sha1: str) -> Sealed:
        self._write(self._cipher.update(self._trailer.finish()))
        self._write(memoryview(self._cipher.finish()))
        self._end()
        return Sealed(
            tar_sha1=tar_sha1,
            ciphertext_sha256=self._whole.hexdigest(),
            length=sum(part.length for part in self._parts),
            parts=tuple(self._parts),
        )

    def _write(self, data: memoryview) -> None:
        self._whole.update(data)
        while data:
            room = PART_SIZE - self._length
            if not room:
                self._end()
                self._begin()
                continue
            piece, data = data[:room], data[room:]
            self._sha1.update(piece)
            self._sha256.update(piece)
            if self._file is None:
                self._file = self._open_part(len(self._parts))
            self._file.write(piece)
            self._length += len(piece)

    def _begin(self) -> None:
        self._length = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._parts.append(
            PartDigest(length=self._length, sha1=self._sha1.hexdigest(), sha256=self._sha256.hexdigest())
        )
