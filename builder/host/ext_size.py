"""How large a file system must be to hold a tree: counted from names and sizes only, so that it is the same anywhere.

What a file takes on the disk of this machine is not asked unless wanted: that differs by file system. The layout is
ext2fs's own (e2fsprogs 1.47.0, blocks of 4096 bytes); where it is not worth following exactly the count is rounded up.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
BLOCK = 4096
_GROUP = 8 * BLOCK  # blocks in a group: one bitmap block's bits
_POINTERS = BLOCK // 4
_EXTENTS = (BLOCK - 12) // 12
_INODE_RATIO = 16384
_RESERVED_INODES = 11
_SMALLEST = 16 * MIB  # a journal wants room
# ext2fs_default_journal_size: (a file system of fewer blocks than, blocks of its journal).
_JOURNALS = ((32768, 1024), (256 * 1024, 4096), (512 * 1024, 8192), (4096 * 1024, 16384))
RESERVED_PERCENT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tree needs of any file system."""

    blocks: int
    inodes: int


def measure(tree: Path, *, allocated: bool = False) -> Usage:
    """Count the blocks of everything in the tree, hard links once; what vanishes meanwhile not.

    With `allocated` holes of files do not count: what the disk of this machine has for a file is asked then.
    """
    blocks, inodes = 4, _RESERVED_INODES  # lost+found
    seen: set[tuple[int, int]] = set()
    for path, status in _walk(tree):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        with suppress(FileNotFoundError):
            blocks += _blocks(path, status, allocated)
            inodes += 1
    return Usage(blocks=blocks, inodes=inodes)


def inode_count(usage: Usage, size: int) -> int:
    """As many as mke2fs would make, and enough for the tree and half as much again."""
    return max(size // _INODE_RATIO, usage.inodes + usage.inodes // 2, 1024)


def size_for(usage: Usage, free: int, inode_size: int) -> int:
    """Bytes, a multiple of 1 MiB, of a file system that has `free` bytes left for everybody."""
    wanted = (usage.blocks * BLOCK + free) * 101 // 100
    size = max(wanted, _SMALLEST)
    while True:
        needed = (wanted + _overhead(usage, size, inode_size)) * 100 // (100 - RESERVED_PERCENT) + 1
        if needed <= size:
            return -(-size // MIB) * MIB
        size = needed


def _overhead(usage: Usage, size: int, inode_size: int) -> int:
    """Bytes of journal, inode tables, bitmaps, superblocks, descriptors and room for their growth."""
    blocks = size // BLOCK
    groups = -(-blocks // _GROUP)
    journal = next((length for limit, length in _JOURNALS if blocks < limit), 32768)
    tables = groups * (-(-inode_count(usage, size) // groups * inode_size // BLOCK) + 1)
    descriptors = -(-groups * 64 // BLOCK)
    growth = min(_POINTERS, groups * 1024 * 64 // BLOCK)  # resize_inode: it may become 1024 times as large
    backups = 2 + groups.bit_length() * 2  # sparse_super: groups 0, 1, powers of 3, 5 and 7
    return BLOCK * (journal + tables + groups * 2 + backups * (1 + descriptors + growth))


def _blocks(path: bytes, status: os.stat_result, allocated: bool) -> int:
    if stat.S_ISDIR(status.st_mode):
        return _directory_blocks(path)
    if stat.S_ISLNK(status.st_mode):
        return int(status.st_size >= 60)  # shorter targets live in the inode
    data = -(-status.st_size // BLOCK) if stat.S_ISREG(status.st_mode) else 0
    if allocated:
        data = min(data, -(-status.st_blocks * 512 // BLOCK))
    indirect = 0 if data <= 4 else -(-data // min(_POINTERS, _EXTENTS)) + 2
    return data + indirect + bool(os.listxattr(path, follow_symlinks=False))


def _directory_blocks(path: bytes) -> int:
    with os.scandir(path) as entries:
        length = sum(8 + -(-len(entry.name) // 4) * 4 for entry in entries)
    return -(-(length + 24) // (BLOCK - 263)) + 1  # an entry never crosses a block's end


def _walk(tree: Path) -> Iterator[tuple[bytes, os.stat_result]]:
    pending = [os.fsencode(tree)]
    yield pending[0], os.lstat(pending[0])
    while pending:
        with suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield entry.path, status
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
