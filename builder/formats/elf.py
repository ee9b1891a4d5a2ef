"""What a program needs to start: the shared libraries that its dynamic section names. 64-bit ELF, little-endian.

Source: elf(5) and the System V ABI, chapter 5 ("Dynamic Linking").
"""

import struct

from builder.errors import BuilderError

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(data: bytes) -> tuple[str, ...]:
    """The DT_NEEDED names, in their order; none for a static program. BuilderError if it is no such file."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise BuilderError("not a 64-bit ELF file")
    try:
        return _needed(data)
    except (struct.error, ValueError, UnicodeDecodeError):
        raise BuilderError("an ELF file's dynamic section points outside it") from None


def _needed(data: bytes) -> tuple[str, ...]:
    segments = _segments(data)
    dynamic = next(((offset, size) for kind, offset, _, size in segments if kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return ()
    start, size = dynamic
    tags = [struct.unpack_from("<QQ", data, start + at) for at in range(0, size, 16)]
    address = next((value for tag, value in tags if tag == _DT_STRTAB), 0)
    names = next(
        offset + address - virtual
        for kind, offset, virtual, length in segments
        if kind == _PT_LOAD and virtual <= address < virtual + length
    )
    return tuple(_string(data, names + value) for tag, value in tags if tag == _DT_NEEDED)


def _segments(data: bytes) -> list[tuple[int, int, int, int]]:
    """Kind, offset, virtual address and size in the file of each program header."""
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = []
    for index in range(count):
        kind, _, offset, virtual, _, length = struct.unpack_from("<IIQQQQ", data, table + index * size)
        found.append((kind, offset, virtual, length))
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")
