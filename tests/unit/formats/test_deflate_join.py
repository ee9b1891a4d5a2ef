import random
import zlib

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats.deflate_join import open_ended

LAST = b"\x03\x00"


def zlib_stream(data: bytes, level: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"a", id="one-byte"),
        pytest.param(random.Random(1).randbytes(200_000), id="stored-blocks"),
        pytest.param(b"".join(b"%d " % n for n in range(200_000)), id="many-blocks"),
        pytest.param(bytes(1 << 20), id="zeros"),
    ],
)
def test_others_can_follow(data: bytes) -> None:
    for packed in (deflate.deflate_compress(data, 7), zlib_stream(data, 6), zlib_stream(data, 0)):
        assert zlib.decompress(open_ended(packed, len(data)) * 3 + LAST, -15) == data * 3


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=400), level=st.integers(1, 12))
def test_every_bit_it_can_end_on(data: bytes, level: int) -> None:
    packed = open_ended(deflate.deflate_compress(data, level), len(data))
    assert zlib.decompress(packed + packed + LAST, -15) == data + data


@pytest.mark.parametrize(
    ("packed", "length"),
    [
        pytest.param(b"\xff" * 10, 5, id="no-deflate"),
        pytest.param(zlib_stream(b"hello" * 100, 6)[:-3], 500, id="cut-short"),
        pytest.param(zlib_stream(b"hello", 6), 4, id="longer-than-said"),
        pytest.param(zlib_stream(b"hello", 6), 6, id="shorter-than-said"),
        pytest.param(zlib_stream(b"hello", 6) + b"x", 5, id="more-behind-it"),
        pytest.param(b"", 0, id="nothing"),
    ],
)
def test_what_is_no_whole_stream(packed: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="deflate stream"):
        open_ended(packed, length)
