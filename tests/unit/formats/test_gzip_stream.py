import gzip
import hashlib
import os
import random
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats import gzip_stream
from builder.formats.gzip_stream import PRIMER, Level

LEVELS: tuple[Level, ...] = ("fast", "small")


def stream(pieces: list[bytes], level: Level = "fast") -> bytes:
    trailer = gzip_stream.Trailer()
    out = gzip_stream.HEADER
    before = b""
    for piece in pieces:
        block = gzip_stream.deflate(piece, level, before)
        before = (before + piece)[-PRIMER:]
        trailer.add(block)
        out += block.data
    return out + trailer.finish()


def text(rng: random.Random, length: int) -> bytes:
    """Something between noise and repetition, as files of a system are."""
    words = [rng.randbytes(rng.randrange(2, 12)) for _ in range(300)]
    return b"".join(rng.choices(words, k=length // 4))[:length]


@pytest.mark.parametrize("level", LEVELS)
def test_blocks_are_one_member(level: Level) -> None:
    rng = random.Random(1)
    pieces = [b"h", rng.randbytes(70_000), b"text " * 20_000, b"", bytes(100_000), b"x", text(rng, 300_000)]
    packed = stream(pieces, level)
    assert gzip.decompress(packed) == b"".join(pieces)
    reader = zlib.decompressobj(31)
    assert reader.decompress(packed) == b"".join(pieces)
    assert (reader.eof, reader.unused_data) == (True, b"")


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.binary(max_size=3000), max_size=6), level=st.sampled_from(LEVELS))
def test_round_trip(pieces: list[bytes], level: Level) -> None:
    assert gzip.decompress(stream(pieces, level)) == b"".join(pieces)


def test_nothing_at_all() -> None:
    assert gzip.decompress(stream([])) == b""


def test_no_name_and_no_time() -> None:
    assert stream([])[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_zeros_are_worked_out_once() -> None:
    first = gzip_stream.deflate_zeros(1 << 20)
    assert gzip_stream.deflate_zeros(1 << 20) is first
    assert len(first.data) < 2048


def test_noise_hardly_grows() -> None:
    """The bound that part names are made by."""
    noise = random.Random(2).randbytes(1 << 20)
    for level in LEVELS:
        assert len(gzip_stream.deflate(noise, level, b"before").data) < len(noise) + len(noise) // 1000


def test_small_is_smaller() -> None:
    data = b"".join(f"line {n} of {n * n}\n".encode() for n in range(30_000))
    fast, small = (len(gzip_stream.deflate(data, level, b"before").data) for level in LEVELS)
    assert small < fast * 0.9


def test_length_wraps_at_4_gib() -> None:
    trailer = gzip_stream.Trailer()
    zeros = gzip_stream.deflate_zeros(1 << 20)
    for _ in range(4097):
        trailer.add(zeros)
    assert trailer.finish()[-4:] == (1 << 20).to_bytes(4, "little")


# Each block starts with bytes that come again. Without a dictionary igzip misses that where the slot of its wrong first
# hash, which the address of its state decides, is that of these bytes: once in 8192 blocks, in each process another.
MANY = """
import hashlib, random
from builder.formats import gzip_stream
rng, digest = random.Random(1), hashlib.sha256()
for _ in range(12_000):
    start = rng.randbytes(12)
    digest.update(gzip_stream.deflate(start + rng.randbytes(40) + start + bytes(40), "fast", b"before").data)
print(digest.hexdigest())
"""


def test_equal_bytes_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", MANY], env={**os.environ, **extra}, capture_output=True, check=True
        ).stdout
        for extra in ({}, {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_PERTURB_": "165"})
    }
    assert len(said) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_equal_bytes_in_every_thread(level: Level) -> None:
    rng = random.Random(9)
    data = [text(rng, 20_000) for _ in range(8)]
    wanted = [gzip_stream.deflate(each, level, b"before") for each in data]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(40):
            assert list(pool.map(lambda each: gzip_stream.deflate(each, level, b"before"), data)) == wanted


@pytest.mark.parametrize(
    ("level", "digest"),
    [
        ("fast", "eac1f5b4b91ea020b9fb3f2ad3782584dbf84986494660aac2361045d415e5fe"),
        ("small", "f97896a16280b368bde33ed7ccc2dc50c298e80e88447c81bde9a52689ae5402"),
    ],
)
def test_the_bytes_are_those_of_these_releases(level: Level, digest: str) -> None:
    """isal 1.9.1 on a processor with SSE 4.2, deflate 0.9.0: a new release may change them, and then says so here."""
    rng = random.Random(11)
    pieces = [b"header", text(rng, 200_000), text(rng, 50_000), rng.randbytes(10_000)]
    assert hashlib.sha256(stream(pieces, level)).hexdigest() == digest
