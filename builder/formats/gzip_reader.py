"""gzip taken apart as a stream: any number of members, each with its CRC and length checked, and a limit on the whole.

After the last member zeros are passed over, as `gunzip` does; anything else is refused. The header is read here and not
by igzip, which loses its place when a header with optional fields arrives in pieces (isal 1.9.1).
"""

import struct
import zlib
from collections.abc import Iterator

from isal import igzip_lib

from builder.errors import BuilderError

PIECE = 1 << 20
"""The most bytes that come out at once."""

_MAGIC = b"\x1f\x8b"
_DEFLATE = 8
_HEADER_CRC, _EXTRA, _NAME, _COMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0
_FED_FIRST = 512
"""How much of a member is read at first, and twice as much each time after: what follows it is not to be copied for
every member of a million short ones."""
_TEXT_LIMIT = 64 * 1024  # a file's name or a comment; the format has no limit


class GzipError(BuilderError):
    """These bytes are not gzip, not all of it, or too much of it."""


def inflate(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The plain bytes, in pieces of at most PIECE. GzipError when there are more than `limit` of them."""
    source = _Source(pieces)
    total = 0
    members = 0
    while _another_member(source, members):
        _read_header(source)
        members += 1
        for piece in _read_member(source):
            total += len(piece)
            if total > limit:
                raise GzipError(f"the gzip stream inflates to more than {limit} bytes, the most that it may hold")
            if piece:
                yield piece


class _Source:
    """The packed bytes, a few at a time, of which those that were taken too many can be put back."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._at = 0

    def more(self, most: int = _FED_FIRST) -> bytes:
        """The next bytes, at most so many; empty at the end."""
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece, self._at = memoryview(piece), 0
        found = bytes(self._piece[self._at : self._at + most])
        self._at += len(found)
        return found

    def back(self, count: int) -> None:
        """The last `count` bytes of what `more` gave last come again."""
        self._at -= count

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.more(count - len(found))
            if not more:
                raise GzipError("the gzip stream ends within a header")
            found += more
        return found

    def take_text(self) -> bytes:
        """Up to a NUL, and that."""
        found = bytearray()
        while len(found) < _TEXT_LIMIT:
            more = self.more()
            if not more:
                raise GzipError("the gzip stream ends within a header")
            text, nul, rest = more.partition(b"\0")
            found += text + nul
            if nul:
                self.back(len(rest))
                return bytes(found)
        raise GzipError(f"a name or comment in the gzip stream has no end within {_TEXT_LIMIT} bytes")


def _another_member(source: _Source, members: int) -> bool:
    """Whether a member begins here; zeros up to the end are passed over once there was one."""
    first = source.more()
    if not first and not members:
        raise GzipError("there is no gzip stream: it is empty")
    source.back(len(first))
    if not members or first[:1] not in (b"", b"\0"):
        return bool(first)
    while rest := source.more(PIECE):
        if rest.strip(b"\0"):
            raise GzipError("bytes that are no gzip follow the gzip stream")
    return False


def _read_header(source: _Source) -> None:
    """RFC 1952, 2.3."""
    magic = source.take(2)
    if magic != _MAGIC:
        raise GzipError("there are bytes that are no gzip where a gzip stream should begin")
    fixed = magic + source.take(8)
    method, flags = fixed[2], fixed[3]
    if method != _DEFLATE or flags & _RESERVED:
        raise GzipError("the gzip stream is of a kind that does not exist")
    seen = fixed
    if flags & _EXTRA:
        length = source.take(2)
        seen += length + source.take(struct.unpack("<H", length)[0])
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            seen += source.take_text()
    if flags & _HEADER_CRC and struct.unpack("<H", source.take(2))[0] != zlib.crc32(seen) & 0xFFFF:
        raise GzipError("a header of the gzip stream is damaged")


def _read_member(source: _Source) -> Iterator[bytes]:
    """The deflate stream and the trailer, which igzip compares."""
    inflater = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP_NO_HDR_VER)
    most = _FED_FIRST
    while not inflater.eof:
        data = b""
        if inflater.needs_input:
            data = source.more(most)
            if not data:
                raise GzipError("the gzip stream ends early")
            most = min(2 * most, PIECE)
        try:
            piece: bytes = inflater.decompress(data, PIECE)
        except igzip_lib.IsalError as error:  # type: ignore[misc] # its stubs declare an instance
            raise GzipError("the gzip stream is damaged", detail=str(error)) from error
        yield piece
    source.back(len(inflater.unused_data))
