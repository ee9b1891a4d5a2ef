import contextlib
import gzip
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import igzip_lib

from builder.formats.gzip_reader import PIECE, GzipError, inflate

HELLO = b"hello, bundle" * 100
PACKED = gzip.compress(HELLO, mtime=0)
BODY = PACKED[10:]


def member(
    content: bytes = HELLO,
    *,
    extra: bytes | None = None,
    name: bytes | None = None,
    comment: bytes | None = None,
    header_crc: bool = False,
) -> bytes:
    """A member with any of the optional fields."""
    fields = (extra is not None) << 2 | (name is not None) << 3 | (comment is not None) << 4 | header_crc << 1
    head = b"\x1f\x8b\x08" + bytes([fields]) + bytes(6)
    if extra is not None:
        head += struct.pack("<H", len(extra)) + extra
    for text in (name, comment):
        if text is not None:
            head += text + b"\0"
    if header_crc:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + gzip.compress(content)[10:]


def inflated(packed: bytes, step: int = PIECE, limit: int = 1 << 30) -> bytes:
    pieces = list(inflate((packed[at : at + step] for at in range(0, len(packed), step)), limit))
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


STEPS = pytest.mark.parametrize("step", [1, 3, 17, PIECE])


@STEPS
@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        pytest.param(PACKED, HELLO, id="one-member"),
        pytest.param(PACKED + member(b"and more") + member(b""), HELLO + b"and more", id="three-members"),
        pytest.param(PACKED + bytes(1000), HELLO, id="zeros-after-it"),
        pytest.param(member(name=b"disk.img"), HELLO, id="name"),
        pytest.param(member(extra=b"BC\2\0\0\0"), HELLO, id="extra"),
        pytest.param(member(extra=b"", name=b"", comment=b"c" * 999, header_crc=True), HELLO, id="all-fields"),
        pytest.param(gzip.compress(b""), b"", id="empty"),
        pytest.param(PACKED[:8] + b"\2\3" + BODY, HELLO, id="level-and-system-do-not-matter"),
    ],
)
def test_reads(packed: bytes, plain: bytes, step: int) -> None:
    assert inflated(packed, step) == plain


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(
        st.one_of(st.binary(max_size=3000), st.integers(0, 3 * PIECE).map(bytes)), min_size=1, max_size=5
    ),
    level=st.integers(1, 9),
    step=st.integers(1000, 40_000),
)
def test_round_trip(contents: list[bytes], level: int, step: int) -> None:
    assert inflated(b"".join(gzip.compress(each, level) for each in contents), step) == b"".join(contents)


@STEPS
@pytest.mark.parametrize(
    ("packed", "why"),
    [
        pytest.param(b"", "it is empty", id="nothing"),
        pytest.param(bytes(100), "no gzip where", id="zeros-alone"),
        pytest.param(b"BZh91AY&SY" + HELLO, "no gzip where", id="bzip2"),
        pytest.param(PACKED[:9], "within a header", id="cut-in-the-header"),
        pytest.param(member(extra=b"x" * 99)[:50], "within a header", id="cut-in-extra"),
        pytest.param(member(name=b"x" * 99)[:50], "within a header", id="cut-in-the-name"),
        pytest.param(PACKED[:30], "ends early", id="cut-in-the-data"),
        pytest.param(PACKED[:-1], "ends early", id="cut-in-the-trailer"),
        pytest.param(PACKED[:10], "ends early", id="cut-after-the-header"),
        pytest.param(PACKED + PACKED[:-9], "ends early", id="second-member-cut"),
        pytest.param(PACKED + PACKED[:1], "within a header", id="second-header-cut"),
        pytest.param(PACKED + b"tail", "no gzip where", id="garbage-after-it"),
        pytest.param(PACKED + bytes(9) + b"x", "follow the gzip stream", id="garbage-after-zeros"),
        pytest.param(PACKED + bytes(9) + PACKED, "follow the gzip stream", id="member-after-zeros"),
        pytest.param(b"\x1f\x8b\x07" + PACKED[3:], "kind that does not exist", id="method"),
        pytest.param(b"\x1f\x8b\x08\x20" + PACKED[4:], "kind that does not exist", id="reserved-flag"),
        pytest.param(member(name=b"x" * 70_000), "no end within", id="endless-name"),
        pytest.param(PACKED[:10] + b"\x07" + BODY[1:], "is damaged", id="block-type"),
        pytest.param(PACKED[:-8] + b"abcd" + PACKED[-4:], "is damaged", id="crc"),
        pytest.param(PACKED[:-4] + b"abcd", "is damaged", id="length"),
        pytest.param(
            PACKED[:3] + b"\x02" + PACKED[4:10] + b"zz" + BODY, "header of the gzip stream is damaged", id="header-crc"
        ),
    ],
)
def test_refuses(packed: bytes, why: str, step: int) -> None:
    with pytest.raises(GzipError, match=why):
        inflated(packed, step)


def test_one_wrong_member_among_many() -> None:
    wrong = bytearray(member(b"two"))
    wrong[-8] ^= 1
    with pytest.raises(GzipError, match="is damaged"):
        inflated(PACKED + bytes(wrong) + PACKED)


def test_stops_at_the_limit() -> None:
    """A gigabyte out of a megabyte, of which no more comes out than is allowed."""
    bomb = igzip_lib.compress(bytes(64 << 20), flag=igzip_lib.COMP_GZIP) * 16
    pieces = inflate(iter([bomb]), 3 * PIECE)
    lengths: list[int] = []
    with pytest.raises(GzipError, match="more than 3145728 bytes"):
        lengths.extend(map(len, pieces))
    assert max(lengths) <= PIECE
    assert 0 < sum(lengths) <= 3 * PIECE


def test_a_million_bytes_of_empty_members_take_no_minute() -> None:
    """What follows a member is not copied for every one of them: that took 20 s."""
    begun = time.process_time()
    assert inflated(gzip.compress(b"", mtime=0) * 50_000) == b""
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("limit", [len(HELLO), len(HELLO) + 1])
def test_the_limit_itself_is_allowed(limit: int) -> None:
    assert inflated(PACKED, limit=limit) == HELLO


def test_what_wants_bytes_is_not_asked_for_more_than_it_takes() -> None:
    """Back-pressure: the packed bytes are taken as the plain ones are."""
    taken = 0

    def pieces() -> "object":
        nonlocal taken
        packed = gzip.compress(bytes(100 * PIECE))
        for at in range(0, len(packed), 1000):
            taken += 1
            yield packed[at : at + 1000]

    stream = inflate(pieces(), 1 << 30)  # type: ignore[arg-type]
    next(stream)
    assert taken <= 3


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 3000), value=st.integers(0, 255), step=st.integers(1, 400))
def test_damage_is_refused_or_harmless(at: int, value: int, step: int) -> None:
    """The CRC and length of every member stand for its bytes."""
    packed = bytearray(PACKED + member(b"x" * 50, name=b"disk.img", header_crc=True))
    packed[at % len(packed)] = value
    with contextlib.suppress(GzipError):
        assert inflated(bytes(packed), step) == HELLO + b"x" * 50
