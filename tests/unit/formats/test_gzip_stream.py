import gzip
import random
import zlib

from builder.formats import gzip_stream


def stream(pieces: list[bytes]) -> bytes:
    trailer = gzip_stream.Trailer()
    out = gzip_stream.HEADER
    for piece in pieces:
        block = gzip_stream.deflate(piece)
        trailer.add(block)
        out += block.data
    return out + trailer.finish()


def test_blocks_are_one_member() -> None:
    rng = random.Random(1)
    pieces = [rng.randbytes(70_000), b"text " * 20_000, b"", bytes(100_000), b"x"]
    packed = stream(pieces)
    assert gzip.decompress(packed) == b"".join(pieces)
    reader = zlib.decompressobj(31)
    assert reader.decompress(packed) == b"".join(pieces)
    assert (reader.eof, reader.unused_data) == (True, b"")


def test_nothing_at_all() -> None:
    assert gzip.decompress(stream([])) == b""


def test_no_name_and_no_time() -> None:
    assert stream([])[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_zeros_are_worked_out_once() -> None:
    first = gzip_stream.deflate_zeros(1 << 20)
    assert first == gzip_stream.deflate(bytes(1 << 20))
    assert gzip_stream.deflate_zeros(1 << 20) is first
    assert len(first.data) < 2048


def test_length_wraps_at_4_gib() -> None:
    trailer = gzip_stream.Trailer()
    zeros = gzip_stream.deflate_zeros(1 << 20)
    for _ in range(4097):
        trailer.add(zeros)
    assert trailer.finish()[-4:] == (1 << 20).to_bytes(4, "little")
