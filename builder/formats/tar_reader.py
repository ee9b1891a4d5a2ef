"""The one member of a bundle's tar stream, read as it comes: its bytes and holes to a sink, its name to nowhere.

Read: ustar, old and new GNU headers (base-256 sizes, long names, sparse with extension blocks) and pax (size, path,
and GNU's sparse formats 0.0, 0.1 and 1.0), which is what GNU tar 1.15 to 1.35, Python and Go write for one file.
Refused: all that is not exactly one regular file of the size that is known already, followed by the two zero blocks
that end an archive and by zeros. Python's tarfile needs a file to seek in for sparse members and takes what it can
from damaged headers, so it is not used here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from builder.formats.tar_sparse import Extents, TarError, add_entries, decimal, number, parse_map, refuse_map

BLOCK = 512
OVERHEAD = 1 << 20
"""How much longer than its image a tar stream may be: headers and the padding of a record. A map of holes is no
longer than the holes, of which no tar writes any shorter than a block."""

_RECORDS_LIMIT = 8 << 20  # bytes of pax records or of a long name; they are held in memory
_END = bytes(2 * BLOCK)
_ZEROS = bytes(1 << 20)


class ImageSink(Protocol):
    """Takes an image: pieces in ascending order; what is between them, and after the last, is zeros."""

    def write(self, offset: int, data: memoryview) -> None:
        """Valid during the call only; may hold zeros of its own."""
        ...


@dataclass(slots=True, kw_only=True)
class _Member:
    """What the headers say of the member."""

    stored: int
    """Bytes of data that follow."""
    size: int
    """Bytes of the file."""
    extents: "Extents | None" = None
    """Where the data belongs; None for all of it, in one piece."""


def read_image(pieces: Iterator[bytes], size: int, sink: ImageSink) -> None:
    """Read the stream to its end, the image into `sink`. TarError unless it is one file of `size` bytes."""
    stream = _Stream(pieces)
    member = _read_headers(stream)
    if member.size != size:
        raise TarError(f"the image in the tar stream has {member.size} bytes, the manifest says {size}")
    extents = member.extents or ((0, member.stored),)
    for offset, length in extents:
        for piece in stream.pieces(length):
            sink.write(offset, piece)
            offset += len(piece)
    stream.take(-member.stored % BLOCK)
    _read_end(stream)


class _Stream:
    """The pieces as one row of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = memoryview(b"")

    def pieces(self, length: int) -> Iterator[memoryview]:
        """The next `length` bytes, as they come."""
        while length:
            if not self._fill():
                raise TarError("the tar stream ends early")
            piece, self._held = self._held[:length], self._held[length:]
            length -= len(piece)
            yield piece

    def take(self, length: int) -> bytes:
        return b"".join(self.pieces(length))

    def rest(self) -> Iterator[memoryview]:
        while self._fill():
            piece, self._held = self._held, memoryview(b"")
            yield piece

    def _fill(self) -> bool:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._held = memoryview(piece)
        return True


def _read_end(stream: _Stream) -> None:
    """Two blocks of zeros, and zeros to the end of the stream: GNU tar fills the last record with them."""
    mark = stream.take(BLOCK)
    if mark != _END[:BLOCK]:
        raise TarError("the tar stream holds a second member: a bundle has exactly one, the image")
    if stream.take(BLOCK) != _END[:BLOCK]:
        raise TarError("the tar stream does not end with two blocks of zeros")
    for piece in stream.rest():
        if any(not _ZEROS.startswith(piece[at : at + len(_ZEROS)]) for at in range(0, len(piece), len(_ZEROS))):
            raise TarError("the tar stream goes on after its end")


# Headers: extended ones first, then the member's own.


def _read_headers(stream: _Stream) -> _Member:
    records = _Records()
    name: bytes | None = None
    for _ in range(8):  # L, g, x and the file's own is the most that a tar writes
        block = stream.take(BLOCK)
        if block == _END[:BLOCK]:
            raise TarError("the tar stream is empty: it ends before a member")
        _check_sum(block)
        kind, length = block[156:157], number(block[124:136], "size")
        if kind in (b"x", b"g"):
            records.add(_read_extension(stream, length))
        elif kind == b"L":
            name = _read_extension(stream, length).rstrip(b"\0")
        else:
            return _read_own(stream, block, records, name)
    raise TarError("the tar stream has one extended header after another")


def _read_extension(stream: _Stream, length: int) -> bytes:
    if length > _RECORDS_LIMIT:
        raise TarError(f"an extended header of the tar stream has {length} bytes, more than {_RECORDS_LIMIT}")
    data = stream.take(length)
    stream.take(-length % BLOCK)
    return data


def _read_own(stream: _Stream, block: bytes, records: "_Records", name: bytes | None) -> _Member:
    kind = block[156:157]
    for each in (_name_of(block), name, records.texts.get(b"path"), records.texts.get(b"GNU.sparse.name")):
        if each is not None:
            _check_name(each)
    if kind not in (b"0", b"\0", b"S"):
        raise TarError(f"the tar stream holds {_KINDS.get(kind, 'something')}, not a regular file")
    stored = number(block[124:136], "size")
    if (pax := records.number(b"size")) is not None:
        stored = pax
    if kind == b"S":
        if records.is_sparse():
            refuse_map("it is given twice, in two formats")
        return _old_sparse(stream, block, stored)
    return _pax_sparse(stream, records, stored) if records.is_sparse() else _Member(stored=stored, size=stored)


_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a fifo",
    b"7": "a contiguous file",
    b"K": "a link with a long target",
    b"M": "a piece of a file that began in another archive",
    b"V": "a volume label",
    b"D": "a directory listing",
}


def _check_sum(block: bytes) -> None:
    """The sum of the header's bytes, its own field counted as blanks; old tars on some machines counted signed."""
    said = number(block[148:156], "checksum")
    counted = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(counted)
    if said not in (unsigned, unsigned - 256 * sum(byte >= 128 for byte in counted)):
        raise TarError("a header of the tar stream is damaged: its checksum is another")


def _name_of(block: bytes) -> bytes:
    name, _, _ = block[:100].partition(b"\0")
    prefix, _, _ = block[345:500].partition(b"\0")
    return prefix + b"/" + name if block[257:263] == b"ustar\0" and prefix else name


def _check_name(name: bytes) -> None:
    """The name is used nowhere; one that means harm to other readers is refused all the same."""
    if not name or name.startswith(b"/") or name.endswith(b"/") or b"\0" in name or b".." in name.split(b"/"):
        shown = name[:60].decode("utf-8", "backslashreplace")
        raise TarError(f"the image in the tar stream has the name {shown!r}, which points out of its directory")


@dataclass(slots=True)
class _Records:
    """pax records. Numbers of sparse format 0.0 come as many records of the same two names."""

    texts: dict[bytes, bytes] = field(default_factory=dict)
    extents: "Extents" = field(default_factory=lambda: Extents())
    _offset: int | None = None

    def add(self, data: bytes) -> None:
        """Take up the records of one header: `LENGTH KEYWORD=VALUE\\n`, again and again."""
        at = 0
        while at < len(data):
            space = data.find(b" ", at, at + 20)
            if space < 0 or not data[at:space].isdigit():
                _refuse_records()
            end = at + int(data[at:space])
            keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
            if not at < space < end <= len(data) or data[end - 1 : end] != b"\n" or not keyword or not equals:
                _refuse_records()
            self._add_one(keyword, value)
            at = end

    def _add_one(self, keyword: bytes, value: bytes) -> None:
        if keyword == b"GNU.sparse.offset":
            if self._offset is not None:
                refuse_map("an offset has no length")
            self._offset = decimal(value, "an offset of the map of holes")
        elif keyword == b"GNU.sparse.numbytes":
            if self._offset is None:
                refuse_map("a length has no offset")
            self.extents.add(self._offset, decimal(value, "a length of the map of holes"))
            self._offset = None
        elif keyword in self.texts:
            raise TarError(f"the tar stream says twice what {keyword[:60].decode('utf-8', 'backslashreplace')} is")
        else:
            self.texts[keyword] = value

    def number(self, keyword: bytes) -> int | None:
        value = self.texts.get(keyword)
        return None if value is None else decimal(value, keyword.decode("ascii"))

    def is_sparse(self) -> bool:
        return bool(self.extents) or any(keyword.startswith(b"GNU.sparse.") for keyword in self.texts)


def _refuse_records() -> NoReturn:
    raise TarError("an extended header of the tar stream is damaged")


# Maps of holes: GNU tar's manual, "Sparse Formats".


def _sparse_member(stored: int, size: int, extents: Extents) -> _Member:
    if extents.end > size:
        refuse_map(f"its last entry ends at {extents.end}, after the file's {size} bytes")
    if extents.stored != stored:
        refuse_map(f"its entries have {extents.stored} bytes, and {stored} are stored")
    return _Member(stored=stored, size=size, extents=extents)


def _old_sparse(stream: _Stream, block: bytes, stored: int) -> _Member:
    """Four entries in the header, 21 in each extension block; the first one that is not filled in ends the map."""
    if block[257:265] != b"ustar  \0":
        raise TarError("the tar stream holds a sparse file in a header that knows none")
    extents = Extents()
    table, more = block[386:482], block[482]
    while add_entries(extents, table) and more:
        extension = stream.take(BLOCK)
        table, more = extension[:504], extension[504]
    if more:
        refuse_map("it goes on after its end")
    return _sparse_member(stored, number(block[483:495], "the size of a sparse file"), extents)


def _pax_sparse(stream: _Stream, records: _Records, stored: int) -> _Member:
    texts = records.texts
    version = (records.number(b"GNU.sparse.major") or 0, records.number(b"GNU.sparse.minor") or 0)
    if version == (1, 0):
        if records.extents or b"GNU.sparse.map" in texts:
            refuse_map("it is given twice, in two formats")
        extents, used = _read_map(stream)
        if used > stored:
            refuse_map("it is longer than what is stored")
        return _sparse_member(stored - used, _known(records, b"GNU.sparse.realsize"), extents)
    if version not in ((0, 0), (0, 1)):
        refuse_map(f"its format {version[0]}.{version[1]} is not known")
    extents = records.extents
    if b"GNU.sparse.map" in texts:
        if extents:
            refuse_map("it is given twice, in two formats")
        extents = parse_map(texts[b"GNU.sparse.map"])
    if len(extents) != _known(records, b"GNU.sparse.numblocks"):
        refuse_map(f"it has {len(extents)} entries, not as many as it says")
    return _sparse_member(stored, _known(records, b"GNU.sparse.size"), extents)


def _known(records: _Records, keyword: bytes) -> int:
    value = records.number(keyword)
    if value is None:
        refuse_map(f"{keyword.decode('ascii')} is missing")
    return value


def _read_map(stream: _Stream) -> tuple[Extents, int]:
    """Format 1.0: before the data, in whole blocks, a count of entries, then offset and length of each, a line a
    number. Also how many bytes it took."""
    lines = _Lines(stream)
    extents = Extents()
    for _ in range(lines.number()):
        extents.add(lines.number(), lines.number())
    return extents, lines.taken


class _Lines:
    """Decimal numbers, each ended by a newline, out of blocks."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._held = b""
        self.taken = 0

    def number(self) -> int:
        while b"\n" not in self._held:
            if len(self._held) > 20:
                refuse_map("a number does not end")
            self._held += self._stream.take(BLOCK)
            self.taken += BLOCK
        line, _, self._held = self._held.partition(b"\n")
        return decimal(line, "a number of the map of holes")
