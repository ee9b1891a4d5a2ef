"""A package's header as rpm's database holds it: an index of tagged values, and the values.

From rpm's documentation (docs/manual/format_header.md, hregions.md): two big-endian counts, that of the index entries
and that of the bytes of data; entries of 16 bytes (tag, type, offset, count); the data. Read: whole numbers and texts,
the first of several. Input is hostile: nothing is read outside of the given bytes.
"""

import struct

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
SIZE, LICENSE, ARCHITECTURE, SOURCE, LONG_SIZE = 1009, 1014, 1022, 1044, 5009

_ENTRY = 16
_LARGEST = 256 * 1024**2
_INT32, _INT64, _STRING, _STRINGS, _TEXTS = 4, 5, 6, 8, 9


def parse_header(blob: bytes) -> dict[int, int | str]:
    """The numbers and texts of a header, by tag. ValueError for what is no header."""
    if len(blob) < 8:
        raise ValueError("it ends within its first 8 bytes")
    entries, length = struct.unpack_from(">II", blob)
    start = 8 + _ENTRY * entries
    if max(entries * _ENTRY, length) > _LARGEST or start + length > len(blob):
        raise ValueError(f"it speaks of {entries} entries and {length} bytes, and has {len(blob)}")
    data = blob[start : start + length]
    found: dict[int, int | str] = {}
    for at in range(8, start, _ENTRY):
        tag, kind, offset, count = struct.unpack_from(">iIiI", blob, at)
        value = _value(kind, data, offset) if count else None
        if value is not None:
            found.setdefault(tag, value)
    return found


def _value(kind: int, data: bytes, offset: int) -> int | str | None:
    if kind in (_STRING, _STRINGS, _TEXTS):
        end = data.find(b"\0", offset) if 0 <= offset < len(data) else -1
        if end < 0:
            raise ValueError(f"a text at {offset} has no end")
        return data[offset:end].decode(errors="replace")
    width = {_INT32: 4, _INT64: 8}.get(kind)
    if width is None:
        return None
    if not 0 <= offset <= len(data) - width:
        raise ValueError(f"a number at {offset} is outside of the data")
    return int.from_bytes(data[offset : offset + width])
