"""Tar streams for tests, laid out by hand from the format's description, so that any of them can be wrong."""

END = bytes(1024)


def octal(value: int, width: int = 12) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def header(
    *,
    name: bytes = b"disk.img",
    size: int | bytes = 0,
    kind: bytes = b"0",
    magic: bytes = b"ustar  \0",
    link: bytes = b"",
    at: dict[int, bytes] | None = None,
    checksum: bytes | None = None,
) -> bytes:
    """A header of 512 bytes; `at` puts bytes at offsets, before the checksum is worked out."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = size if isinstance(size, bytes) else octal(size)
    block[136:148] = octal(0)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257 : 257 + len(magic)] = magic
    for offset, data in (at or {}).items():
        block[offset : offset + len(data)] = data
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(content: bytes, **fields: object) -> bytes:
    """One file with its data."""
    return header(**{"size": len(content), **fields}) + padded(content)  # type: ignore[arg-type]


def archive(content: bytes, **fields: object) -> bytes:
    """All of a bundle's tar stream, to the end of the record."""
    stream = member(content, **fields) + END
    return stream + bytes(-len(stream) % 10240)


def record(keyword: bytes, value: bytes) -> bytes:
    """A pax record, which says its own length."""
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) > length:
        length += 1
    return b"%d" % length + rest


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    data = b"".join(record(keyword, value) for keyword, value in records)
    return member(data, name=b"PaxHeaders/disk.img", kind=kind, magic=b"ustar\x0000")


def pairs(*extents: tuple[int, int]) -> bytes:
    """Entries of an old GNU map of holes."""
    return b"".join(octal(offset) + octal(length) for offset, length in extents)


def old_sparse(real: int, extents: tuple[tuple[int, int], ...], stored: int, *blocks: bytes) -> bytes:
    """The header of an old GNU sparse file; `extents` go into it, `blocks` are what extends it."""
    return header(
        kind=b"S", size=stored, at={386: pairs(*extents), 482: b"\1" if blocks else b"\0", 483: octal(real)}
    ) + b"".join(blocks)


def extension(*extents: tuple[int, int], more: bool = False) -> bytes:
    """A block that goes on with an old GNU map of holes."""
    return pairs(*extents).ljust(504, b"\0") + (b"\1" if more else b"\0") + bytes(7)
