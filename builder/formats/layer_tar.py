"""A layer as bytes: one canonical tar for one set of changes, and the strict reader of exactly that form.

Entries are sorted by the bytes of their paths. Owners are numbers. Times are whole seconds. What ustar cannot say
(long or non-ASCII names, large files, extended attributes) is in a PAX header before the entry; what is missing in
the layer below is an OCI whiteout, `.wh.NAME`, and a directory that hides the one below holds `.wh..wh..opq`
(image-spec, layer.md). The reader refuses whatever this writer does not write.
"""

import io
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)
WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"

_NAME = slice(0, 100)
_LINK = slice(157, 257)
_XATTR = b"SCHILY.xattr."
_LARGEST_ID = 0o7777777
_LARGEST_SIZE = 0o77777777777
_LARGEST_RECORDS = 1 << 20


class LayerFormatError(ValueError):
    """These bytes are not a layer that this module wrote."""


class Kind(Enum):
    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name in a layer. `path` has no leading slash and is empty for the root of the tree."""

    path: bytes
    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: bytes = b""
    """Where a symbolic link points, or the path of the entry that a hard link is another name of."""
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def write_header(entry: Entry, sink: Sink) -> None:
    """Everything that comes before an entry's data."""
    records = _records(entry)
    if records:
        sink.write(_ustar(b"PaxHeaders", b"x", len(records)) + records + padding(len(records)))
    name = b"./" if not entry.path else entry.path + (b"/" if entry.kind is Kind.DIRECTORY else b"")
    sink.write(_ustar(name, entry.kind.value, entry.size, entry))


def whiteout(path: bytes) -> Entry:
    """The mark that says: what the layers below have at `path` is gone."""
    parent, slash, name = path.rpartition(b"/")
    return Entry(path=parent + slash + WHITEOUT + name, kind=Kind.FILE)


def opaque(directory: bytes) -> Entry:
    """The mark that says: nothing of what the layers below have in `directory` is seen."""
    return Entry(path=(directory + b"/" if directory else b"") + OPAQUE, kind=Kind.FILE)


def padding(size: int) -> bytes:
    """What follows `size` bytes of data, up to the next block."""
    return bytes(-size % BLOCK)


def read_entries(source: Source) -> Iterator[tuple[Entry, Callable[[Sink], None]]]:
    """The entries of a layer, each with a function that copies its data to a sink (unasked-for data is skipped).

    LayerFormatError for any byte that `write_header` would not have written, for a path that is absolute, holds
    `..` or an empty part, or is out of order, and for a file that ends early.
    """
    before: bytes | None = None
    while (entry := _read_entry(source)) is not None:
        if before is not None and entry.path <= before:
            raise LayerFormatError(f"{entry.path!r} comes after {before!r}: entries are sorted, each name once")
        before = entry.path
        copied = False

        def copy(sink: Sink, size: int = entry.size) -> None:
            nonlocal copied
            copied = True
            _copy(source, sink, size)

        yield entry, copy
        if not copied:
            _copy(source, io.BytesIO(), entry.size)
    if source.read(BLOCK) != bytes(BLOCK) or source.read(1):
        raise LayerFormatError("the end of the layer is not two blocks of zeros")


def _records(entry: Entry) -> bytes:
    """The PAX records of an entry, in one order."""
    found: list[tuple[bytes, bytes]] = []
    name = entry.path + (b"/" if entry.kind is Kind.DIRECTORY else b"")
    if len(name) > 100 or not name.isascii():
        found.append((b"path", name))
    if len(entry.target) > 100 or not entry.target.isascii():
        found.append((b"linkpath", entry.target))
    if not all(_is_utf8(value) for _, value in found):
        found.insert(0, (b"hdrcharset", b"BINARY"))  # POSIX: these values are bytes, not UTF-8.
    if entry.size > _LARGEST_SIZE:
        found.append((b"size", b"%d" % entry.size))
    found += [(_XATTR + key.encode(errors="surrogateescape"), value) for key, value in sorted(entry.xattrs.items())]
    return b"".join(_record(key, value) for key, value in found)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH key=value\\n`, where LENGTH counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _ustar(name: bytes, kind: bytes, size: int, entry: Entry | None = None) -> bytes:
    """One header block (POSIX.1-1988 ustar). A name or target that does not fit is cut: the PAX header has it."""
    mode, uid, gid, mtime = (entry.mode, entry.uid, entry.gid, entry.mtime) if entry else (0o644, 0, 0, 0)
    if max(uid, gid) > _LARGEST_ID or min(uid, gid, mtime, size) < 0:
        raise ValueError(f"{name!r}: an owner, a time or a size that no tar can say")
    header = bytearray(BLOCK)
    header[_NAME] = _plain(name).ljust(100, b"\0")
    header[100:157] = b"%07o\0%07o\0%07o\0%011o\0%011o\0        %s" % (
        mode, uid, gid, size if size <= _LARGEST_SIZE else 0, mtime, kind,
    )  # fmt: skip
    header[_LINK] = _plain(entry.target if entry else b"").ljust(100, b"\0")
    header[257:265] = b"ustar\x0000"
    header[329:345] = b"0000000\x000000000\0"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _plain(name: bytes) -> bytes:
    return bytes(byte if byte < 128 else 95 for byte in name[:100]) if not name.isascii() else name[:100]


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_entry(source: Source) -> Entry | None:
    header = _exactly(source, BLOCK)
    if header == bytes(BLOCK):
        return None
    raw, data = header, b""
    if header[156:157] == b"x":
        size = _octal(header[124:136])
        if size > _LARGEST_RECORDS:
            raise LayerFormatError(f"a PAX header of {size} bytes")
        data = _exactly(source, size)
        after = _exactly(source, -size % BLOCK + BLOCK)
        header = after[-BLOCK:]
        raw += data + after
    entry = _parse(header, _parse_records(data))
    again = io.BytesIO()
    try:
        write_header(entry, again)
    except ValueError as error:
        raise LayerFormatError(str(error)) from None
    if again.getvalue() != raw:
        raise LayerFormatError(f"the header of {entry.path!r} is not in the canonical form")
    return entry


def _parse(header: bytes, records: Mapping[bytes, bytes]) -> Entry:
    try:
        kind = Kind(header[156:157])
    except ValueError:
        raise LayerFormatError(f"an entry of type {header[156:157]!r}: layers have none") from None
    name = records.get(b"path", header[_NAME].rstrip(b"\0"))
    path = name.removesuffix(b"/") if kind is Kind.DIRECTORY else name
    path = b"" if path == b"." else path
    if (path and any(part in (b"", b".", b"..") for part in path.split(b"/"))) or b"\0" in path:
        raise LayerFormatError(f"{name!r} is not a path below the root of a tree")
    target = records.get(b"linkpath", header[_LINK].rstrip(b"\0"))
    if b"\0" in target:
        raise LayerFormatError(f"{name!r} points to {target!r}, which is not a path")
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(_octal(header[100:108])),
        uid=_octal(header[108:116]),
        gid=_octal(header[116:124]),
        mtime=_octal(header[136:148]),
        size=_decimal(records.get(b"size", b"0")) or _octal(header[124:136]),
        target=target,
        xattrs={
            key.removeprefix(_XATTR).decode(errors="surrogateescape"): value
            for key, value in records.items()
            if key.startswith(_XATTR)
        },
    )


def _parse_records(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        digits = data[at:space] if space > at else b""
        record = data[space + 1 : at + int(digits)] if digits.isdigit() else b""
        key, equals, value = record[:-1].partition(b"=")
        if not equals or record[-1:] != b"\n" or key in found or _record(key, value) != data[at : at + int(digits)]:
            raise LayerFormatError(f"a broken PAX record at byte {at} of its header")
        if key not in (b"path", b"linkpath", b"size", b"hdrcharset") and not key.startswith(_XATTR):
            raise LayerFormatError(f"a PAX record {key!r}: layers have none")
        found[key] = value
        at += int(digits)
    return found


def _octal(digits: bytes) -> int:
    try:
        return int(digits.rstrip(b"\0 "), 8)
    except ValueError:
        raise LayerFormatError(f"{digits!r} is not an octal number") from None


def _decimal(digits: bytes) -> int:
    if not digits.isdigit():
        raise LayerFormatError(f"{digits!r} is not a number")
    return int(digits)


def _exactly(source: Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise LayerFormatError("the layer ends early")
    return data


def _copy(source: Source, sink: Sink, size: int) -> None:
    left = size
    while left:
        chunk = _exactly(source, min(left, CHUNK))
        sink.write(chunk)
        left -= len(chunk)
    _exactly(source, -size % BLOCK)
