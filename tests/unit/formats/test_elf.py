"""The libraries that a program needs."""

import struct

import pytest

from builder.errors import BuilderError
from builder.formats.elf import needed


def program(*names: str) -> bytes:
    """A 64-bit ELF file with one loaded segment and a dynamic section."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    table = 64 + 2 * 56
    tags = [(1, strings.index(name.encode())) for name in names] + [(5, 0x1000 + table), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    size = table + len(strings) + len(dynamic)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0x1000, size, size, 4096)
    where = struct.pack("<IIQQQQQQ", 2, 4, table + len(strings), 0, 0, len(dynamic), len(dynamic), 8)
    return head + load + where + strings + dynamic


def test_needed() -> None:
    assert needed(program("libc.so.6", "libz.so.1")) == ("libc.so.6", "libz.so.1")
    assert needed(program()) == ()


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", program("libc.so.6")[:100], program("libc.so.6")[:-40]], ids=str)
def test_what_is_damaged(data: bytes) -> None:
    with pytest.raises(BuilderError):
        needed(data)
