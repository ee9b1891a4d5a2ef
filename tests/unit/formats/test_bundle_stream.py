import gzip
import hashlib
import io
import random
import tarfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats import bundle_stream
from builder.formats.bundle_cipher import Decryptor, SessionKey
from builder.formats.bundle_stream import PartDigest, Sealed, seal
from builder.formats.gzip_stream import Level
from builder.formats.sparse import Block

SESSION = SessionKey(
    key=bytes.fromhex("00112233445566778899aabbccddeeff"), iv=bytes.fromhex("0f0e0d0c0b0a09080706050403020100")
)


class Kept:
    """A sink that keeps everything, and holds the writer to the protocol."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.ended: list[PartDigest] = []

    def write(self, index: int, data: memoryview) -> None:
        assert index == len(self.ended)
        assert data
        if index == len(self.parts):
            self.parts.append(b"")
        self.parts[index] += data

    def end(self, index: int, digest: PartDigest) -> None:
        assert index == len(self.ended) == len(self.parts) - 1
        self.ended.append(digest)


def sealed(blocks: list[Block], **options: Any) -> tuple[Sealed, list[bytes]]:
    sink = Kept()
    found = seal("disk.img", sum(block.length for block in blocks), blocks, SESSION, sink, **{"workers": 2, **options})
    assert found.parts == tuple(sink.ended)
    return found, sink.parts


def opened(parts: list[bytes]) -> tuple[bytes, str]:
    """The image, and the SHA-1 of the whole tar stream."""
    cipher = Decryptor(SESSION)
    stream = gzip.decompress(bytes(cipher.update(b"".join(parts))) + cipher.finish())
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        (member,) = archive.getmembers()
        extracted = archive.extractfile(member)
        assert extracted is not None
        return extracted.read(), hashlib.sha1(stream).hexdigest()


def test_vector_of_the_reference() -> None:
    found, parts = sealed([Block(length=1 << 20)])
    assert found.tar_sha1 == "9709273bb29fd1f4dfad710b3bda39f8fb6d2c54"
    assert opened(parts) == (bytes(1 << 20), found.tar_sha1)


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(st.one_of(st.binary(min_size=1, max_size=5000), st.integers(1, 3_000_000)), max_size=8))
def test_round_trip(pieces: list[bytes | int]) -> None:
    blocks = [Block(length=p) if isinstance(p, int) else Block(length=len(p), data=p) for p in pieces]
    image = b"".join(bytes(p) for p in pieces)
    seen: list[int] = []
    found, parts = sealed(blocks, progress=lambda done, total: seen.append(done))
    assert opened(parts) == (image, found.tar_sha1)
    whole = b"".join(parts)
    assert found == Sealed(
        tar_sha1=found.tar_sha1,
        length=len(whole),
        parts=tuple(PartDigest(length=len(p), sha1=hashlib.sha1(p).hexdigest()) for p in parts),
    )
    assert seen == sorted(seen)
    assert seen[-1] == len(image)


@pytest.mark.parametrize("level", ["fast", "small"])
def test_equal_bytes_whatever_the_number_of_threads(level: Level) -> None:
    rng = random.Random(4)
    words = [rng.randbytes(7) for _ in range(500)]
    blocks = [Block(length=700_000, data=b"".join(rng.choices(words, k=100_000))) for _ in range(5)]
    blocks[2:2] = [Block(length=50_000), Block(length=10, data=b"0123456789")]
    first = sealed(blocks, level=level, workers=1)
    assert opened(first[1])[0] == b"".join(block.data or bytes(block.length) for block in blocks)
    for workers in (2, 7):
        assert sealed(blocks, level=level, workers=workers) == first


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_cut_at_the_part_size(extra: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full parts but the last, and no empty one where the length is a multiple of the size (as euca2ools writes)."""
    zeros = [Block(length=50_000)]
    _, (whole,) = sealed(zeros)
    monkeypatch.setattr(bundle_stream, "PART_SIZE", len(whole) // 4 + extra)
    _, parts = sealed(zeros)
    assert b"".join(parts) == whole
    assert {len(part) for part in parts[:-1]} == {bundle_stream.PART_SIZE}
    assert len(parts) == -(-len(whole) // bundle_stream.PART_SIZE)
    assert 0 < len(parts[-1]) <= bundle_stream.PART_SIZE


def test_few_blocks_are_held() -> None:
    """The reader is held back when the last thread of the line is slow."""
    given_out = 0
    gate = threading.Event()

    def blocks() -> Iterator[Block]:
        nonlocal given_out
        for _ in range(100):
            given_out += 1
            yield Block(length=1000, data=b"x" * 1000)

    class Slow(Kept):
        def write(self, index: int, data: memoryview) -> None:
            assert gate.wait(10)
            super().write(index, data)

    line = threading.Thread(target=lambda: seal("a", 100_000, blocks(), SESSION, Slow(), workers=2))
    line.start()
    try:
        line.join(0.3)
        assert line.is_alive()
        assert given_out <= 14
    finally:
        gate.set()
        line.join(10)
    assert given_out == 100


class Stop(BaseException):
    """Stands for KeyboardInterrupt."""


@pytest.mark.parametrize("where", ["blocks", "progress", "write", "end"])
def test_an_error_anywhere_ends_it_and_leaves_no_thread(where: str) -> None:
    def blocks() -> Iterator[Block]:
        for number in range(200):
            if where == "blocks" and number == 100:
                raise Stop
            yield Block(length=100_000, data=bytes(100_000))

    def progress(done: int, total: int) -> None:
        if where == "progress" and done > 1_000_000:
            raise Stop

    class Refusing(Kept):
        def write(self, index: int, data: memoryview) -> None:
            if where == "write":
                raise Stop

        def end(self, index: int, digest: PartDigest) -> None:
            raise Stop

    before = threading.active_count()
    with pytest.raises(Stop):
        seal("a", 200 * 100_000, blocks(), SESSION, Refusing(), progress=progress, workers=2)
    assert threading.active_count() == before


@pytest.mark.parametrize("size", [999, 1001])
def test_blocks_that_do_not_add_up(size: int) -> None:
    with pytest.raises(ValueError, match="1000 bytes"):
        seal("a", size, [Block(length=1000)], SESSION, Kept())
