"""Inodes and directory blocks, byte by byte."""

import stat
import struct

from hypothesis import given
from hypothesis import strategies as st

from builder.formats.ext_format import BLOCK, EXTENTS, Inode, Name, format_directory, format_inode

LINK = Inode(mode=0o120777, uid=0x12345, gid=0x6789A, size=4, links=1, mtime=5, clock=7, inline=b"/usr")


def test_a_small_inode() -> None:
    data = format_inode(LINK, 128)
    assert len(data) == 128
    assert struct.unpack_from("<HHIIIIIHHII", data) == (0o120777, 0x2345, 4, 7, 7, 5, 0, 0x789A, 1, 0, 0)
    assert data[40:100] == b"/usr".ljust(60, b"\0")
    assert struct.unpack_from("<HH", data, 120) == (1, 6)


def test_a_large_inode_has_its_time_of_creation() -> None:
    data = format_inode(LINK, 256)
    assert data[:128] == format_inode(LINK, 128)
    assert struct.unpack_from("<HH3II", data, 128) == (32, 0, 0, 0, 0, 7)
    assert data[160:] == bytes(96)


def test_a_file_of_extents_begins_with_none() -> None:
    file = Inode(mode=0o100644, uid=0, gid=0, size=5 << 32, links=65001, mtime=0, clock=0, blocks=3, flags=EXTENTS)
    data = format_inode(file, 128)
    assert data[40:52] == bytes.fromhex("0af3 0000 0400 0000 00000000")
    assert struct.unpack_from("<II", data, 28) == (24, EXTENTS)
    assert struct.unpack_from("<I", data, 108) == (5,)
    assert struct.unpack_from("<H", data, 26) == (1,)


def test_a_directory() -> None:
    names = [Name(name=b".", inode=2, mode=stat.S_IFDIR), Name(name=b"hello", inode=12, mode=stat.S_IFREG)]
    (block,) = format_directory(names, checksums=False)
    assert (
        block[:25] == struct.pack("<IHBB", 2, 12, 1, 2) + b".\0\0\0" + struct.pack("<IHBB", 12, 4084, 5, 1) + b"hello"
    )
    assert block[25:] == bytes(BLOCK - 25)
    (block,) = format_directory(names, checksums=True)
    assert struct.unpack_from("<H", block, 16) == (4072,)
    assert block[-12:] == struct.pack("<IHBBI", 0, 12, 0, 0xDE, 0)


@given(st.lists(st.binary(min_size=1, max_size=255), max_size=80), st.booleans())
def test_every_block_is_full_of_entries(names: list[bytes], checksums: bool) -> None:
    found = []
    for block in format_directory([Name(name=b".", inode=1, mode=stat.S_IFDIR), *(
        Name(name=name, inode=index, mode=stat.S_IFREG) for index, name in enumerate(names)
    )], checksums=checksums):  # fmt: skip
        assert len(block) == BLOCK
        at = 0
        while at < BLOCK - 12 * checksums:
            _, length, name, _ = struct.unpack_from("<IHBB", block, at)
            found.append(block[at + 8 : at + 8 + name])
            at += length
        assert at == BLOCK - 12 * checksums
    assert found == [b".", *names]
