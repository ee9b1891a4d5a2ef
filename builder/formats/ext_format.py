"""Inodes and directories of ext2, ext3 and ext4 as they lie on the disk (Linux: fs/ext4/ext4.h), but for checksums."""

import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass

BLOCK = 4096
FAST_LINK = 60
"""A symbolic link's target with fewer bytes lies in the inode."""
EXTENTS = 0x80000
_NO_EXTENTS = struct.pack("<HHHHI", 0xF30A, 0, 4, 0, 0)
_GOOD_OLD = 128
_EXTRA = 32  # what e2fsprogs 1.47.0 knows beyond the first 128 bytes
_INODE = struct.Struct("<HHIIIIIHHII4x60s4xII4x4xHH4x")
_INODE_EXTRA = struct.Struct("<HH4x4x4xI4x4x4x")
_ENTRY = struct.Struct("<IHBB")
_TAIL = struct.Struct("<IHBBI")
_TAIL_TYPE = 0xDE
_MOST_LINKS = 65000
_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inode:
    """One with no blocks mapped yet."""

    mode: int
    uid: int
    gid: int
    size: int
    links: int
    mtime: int
    clock: int
    """Change, access and creation time."""
    blocks: int = 0
    """Blocks that it will have, those of its map not counted."""
    flags: int = 0
    inline: bytes = b""
    """A short symbolic link's target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """An entry of a directory."""

    name: bytes
    inode: int
    mode: int


def format_inode(inode: Inode, length: int) -> bytes:
    """`length` is the file system's inode size. More links than ext4 can count are 1 (feature dir_nlink)."""
    data = _INODE.pack(
        inode.mode,
        inode.uid & 0xFFFF,
        inode.size & 0xFFFFFFFF,
        inode.clock,
        inode.clock,
        inode.mtime,
        0,
        inode.gid & 0xFFFF,
        inode.links if inode.links < _MOST_LINKS else 1,
        inode.blocks * (BLOCK // 512),
        inode.flags,
        inode.inline or (_NO_EXTENTS if inode.flags & EXTENTS else b""),
        0,
        inode.size >> 32,
        inode.uid >> 16,
        inode.gid >> 16,
    )
    if length > _GOOD_OLD:
        data += _INODE_EXTRA.pack(_EXTRA, 0, inode.clock)
    return data.ljust(length, b"\0")


def format_directory(names: Sequence[Name], *, checksums: bool) -> list[bytes]:
    """The blocks of a directory, whose first two entries are itself and its parent; with room for checksums, or not."""
    room = BLOCK - (_TAIL.size if checksums else 0)
    blocks, lines, filled = [], list[bytes](), 0
    for each in names:
        line = _ENTRY.pack(each.inode, _length(each), len(each.name), _TYPES[stat.S_IFMT(each.mode)]) + each.name
        if filled + _length(each) > room:
            blocks.append(_directory_block(lines, room))
            lines, filled = [], 0
        lines.append(line.ljust(_length(each), b"\0"))
        filled += _length(each)
    return [*blocks, _directory_block(lines, room)]


def _length(name: Name) -> int:
    return _ENTRY.size + -(-len(name.name) // 4) * 4


def _directory_block(lines: Sequence[bytes], room: int) -> bytes:
    """The last entry's length reaches to the end."""
    before, last = b"".join(lines[:-1]), lines[-1]
    inode, _, length, kind = _ENTRY.unpack_from(last)
    last = _ENTRY.pack(inode, room - len(before), length, kind) + last[_ENTRY.size :]
    data = (before + last).ljust(room, b"\0")
    return data + _TAIL.pack(0, _TAIL.size, 0, _TAIL_TYPE, 0) if room < BLOCK else data
