"""A tree into an empty ext3 or ext4 file system, everything where its path says: a change moves little else.

`mke2fs -d` lays files one behind another in the order of their names, so one that grows moves all after it. Here inodes
and blocks are given out by formats/placement.py: two trees that differ in a file give images that differ in its slots,
in its inode's, and in those of the bitmaps and counts.
"""

# Names in a tree are bytes and need not be UTF-8; os takes bytes, pathlib does not.
# ruff: noqa: PTH115, PTH208

import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.ext_format import BLOCK, EXTENTS, FAST_LINK, Inode, Name, format_directory
from builder.formats.placement import Member, Need, NoRoomError, Run, place, spread
from builder.host import ext2fs, process
from builder.host.ext2fs import FileSystem
from builder.host.ext_image import ROOT_INODE, DoesNotFit, Place
from builder.host.layers import kept_xattrs

SLOT = 512 * 1024 // BLOCK
"""Blocks of the file system in a block of a snapshot."""
_LOST_FOUND = Name(name=b"lost+found", inode=11, mode=stat.S_IFDIR)
_FIRST_FREE = 12
_POINTERS = BLOCK // 4
_DIRECT = 12
_EXTENTS_INSIDE = 2  # pieces: an inode has four extents, and a piece may lie in two places
_INODE_KNOWN = 164  # bytes of an inode before its attributes, their mark included
_ATTRIBUTE = 24  # bytes of an attribute beside its name and value, or less
_MAPPED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


@dataclass(slots=True, kw_only=True)
class _Node:
    """What becomes an inode."""

    path: bytes
    """From the tree's root, which is empty."""
    place: bytes
    status: os.stat_result
    parent: "_Node | None" = None
    links: int = 1
    number: int = 0
    names: list[tuple[bytes, "_Node"]] = field(default_factory=list)
    """Of a directory, in order."""
    target: bytes = b""
    attributes: dict[str, bytes] = field(default_factory=dict)
    pieces: tuple[Run, ...] = ()
    """Blocks of a regular file that are stored: what is zero all through a slot is not."""

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.status.st_mode)

    @property
    def blocks(self) -> int:
        return sum(run.length for run in self.pieces)

    @property
    def given(self) -> int:
        """Blocks that it has before: mke2fs has made a root directory."""
        return 0 if self.parent else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Geometry:
    """What mke2fs has made."""

    inodes: int
    free: tuple[Run, ...]
    extents: bool
    checksums: bool
    inode_size: int


def fill(tree: Path, at: Place, *, inode_size: int, epoch: int) -> None:
    """Write a tree into a file system that mke2fs has just made there. Owners, modes, extended attributes and hard
    links are the tree's, times of change too; every other time is `epoch`. After DoesNotFit the file system is of no
    use.
    """
    geometry = _geometry(at, inode_size)
    nodes = _scan(tree, geometry)
    _number(nodes, geometry)
    needs = [Need(name=node.path, units=node.blocks - node.given + _map_blocks(node, geometry)) for node in nodes]
    with _fitting("blocks"):
        placed = place(needs, geometry.free, slot=SLOT)
    left = (block for run in placed.left for block in range(run.start, run.end))
    with ext2fs.opened(at, inode_size=inode_size, epoch=epoch) as system, at.file.open("r+b", buffering=0) as image:
        for node, runs in zip(nodes, placed.runs, strict=True):
            mapped, spare = _map(node, _given(node, system) + runs)
            _write_inode(system, node, mapped, chain(spare, left), epoch, geometry)
            if node.kind == stat.S_IFREG:
                _copy(node, mapped, image.fileno(), at.offset)
            elif node.target and mapped:
                os.pwrite(image.fileno(), node.target, at.offset + mapped[0][1].start * BLOCK)


def _geometry(at: Place, inode_size: int) -> _Geometry:
    shown = process.run(["dumpe2fs", at.device], capture=True).stdout.decode()
    features = set(re.findall(r"^Filesystem features: +(.*)$", shown, re.MULTILINE)[0].split())
    free = [
        Run(int(first), int(last or first) - int(first) + 1)
        for line in re.findall(r"^  Free blocks: (.*)$", shown, re.MULTILINE)
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line)
    ]
    return _Geometry(
        inodes=int(re.findall(r"^Inode count: +(\d+)$", shown, re.MULTILINE)[0]),
        free=tuple(free),
        extents="extent" in features or "extents" in features,
        checksums="metadata_csum" in features,
        inode_size=inode_size,
    )


def _scan(tree: Path, geometry: _Geometry) -> list[_Node]:
    """Everything in the tree, its root first, in the order of paths."""
    root = _Node(path=b"", place=os.fsencode(tree), status=os.lstat(tree))
    nodes, linked = [root], dict[tuple[int, int], _Node]()
    pending = [root]
    while pending:
        parent = pending.pop()
        inner = []
        for name in sorted(os.listdir(parent.place)):
            if not parent.path and name == _LOST_FOUND.name:
                continue
            node = _node(parent, name, linked)
            parent.names.append((name, node))
            if node.kind == stat.S_IFDIR:
                node.links += 1
                parent.links += 1
                inner.append(node)
            if node.links == 1 or node.kind == stat.S_IFDIR:
                nodes.append(node)
        pending += reversed(inner)
    root.links += 2  # itself, and lost+found
    for node in nodes:
        _look_inside(node, geometry)
    return sorted(nodes, key=lambda node: node.path.replace(b"/", b"\0"))


def _node(parent: _Node, name: bytes, linked: dict[tuple[int, int], _Node]) -> _Node:
    where = parent.place + b"/" + name
    status = os.lstat(where)
    path = parent.path + b"/" + name if parent.path else name
    node = _Node(path=path, place=where, status=status, parent=parent)
    if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
        return node
    found = linked.setdefault((status.st_dev, status.st_ino), node)
    if found is not node:
        found.links += 1
    return found


def _look_inside(node: _Node, geometry: _Geometry) -> None:
    """How many blocks it has."""
    node.attributes = kept_xattrs(node.place)
    if node.kind == stat.S_IFREG:
        node.pieces = tuple(_stored(node))
    elif node.kind == stat.S_IFLNK:
        node.target = os.readlink(node.place)
        node.pieces = () if len(node.target) < FAST_LINK else (Run(0, 1),)
    elif node.kind == stat.S_IFDIR:
        node.pieces = (Run(0, len(_directory(node, geometry))),)
    elif node.kind != stat.S_IFIFO:
        raise BuilderError(f"/{os.fsdecode(node.path)}: neither a file, a directory, a link nor a pipe")


def _stored(node: _Node) -> list[Run]:
    blocks = -(-node.status.st_size // BLOCK)
    if blocks <= SLOT:
        return [Run(0, blocks)] if blocks else []
    zeros, stored = bytes(SLOT * BLOCK), list[Run]()
    descriptor = os.open(node.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for first in range(0, blocks, SLOT):
            data = os.pread(descriptor, SLOT * BLOCK, first * BLOCK)
            if data == zeros[: len(data)]:
                continue
            start = stored.pop().start if stored and stored[-1].end == first else first
            stored.append(Run(start, min(first + SLOT, blocks) - start))
    finally:
        os.close(descriptor)
    return stored


def _directory(node: _Node, geometry: _Geometry) -> list[bytes]:
    parent = node.parent or node
    own = [Name(name=name, inode=each.number, mode=stat.S_IFDIR) for name, each in ((b".", node), (b"..", parent))]
    own += [] if node.parent else [_LOST_FOUND]
    own += (Name(name=name, inode=each.number, mode=each.status.st_mode) for name, each in node.names)
    return format_directory(own, checksums=geometry.checksums)


def _number(nodes: Sequence[_Node], geometry: _Geometry) -> None:
    """Give out inodes: a directory's entries have theirs near one another."""
    root, *others = nodes
    root.number = ROOT_INODE
    members = [
        Member(name=node.path, family=node.parent.path, siblings=len(node.parent.names))
        for node in others
        if node.parent
    ]
    with _fitting("inodes"):
        found = spread(members, geometry.inodes - _FIRST_FREE + 1)
    for node, number in zip(others, found, strict=True):
        node.number = _FIRST_FREE + number


@contextmanager
def _fitting(what: str) -> Iterator[None]:
    try:
        yield
    except NoRoomError as error:
        raise DoesNotFit("the tree does not fit", detail=f"{what}: {error}") from None


def _map_blocks(node: _Node, geometry: _Geometry) -> int:
    """Blocks to have at hand for an inode's map and attributes. What else it should take comes from those left."""
    room = geometry.inode_size - _INODE_KNOWN
    outside = sum(_ATTRIBUTE + len(name) + len(value) for name, value in node.attributes.items()) > room
    length = node.pieces[-1].end if node.pieces else 0
    if geometry.extents:
        return outside + (len(node.pieces) > _EXTENTS_INSIDE)
    indirect = -(-max(0, length - _DIRECT) // _POINTERS)
    return outside + indirect + (indirect > 1) + (indirect > _POINTERS) * (1 + indirect // _POINTERS)


def _given(node: _Node, system: FileSystem) -> tuple[Run, ...]:
    return (Run(system.block_of(node.number, 0), 1),) if node.given else ()


def _map(node: _Node, runs: Sequence[Run]) -> tuple[list[tuple[int, Run]], list[int]]:
    """(block of the file, where it is), and the blocks that are over."""
    mapped, over = list[tuple[int, Run]](), deque(runs)
    for piece in node.pieces:
        at = piece.start
        while at < piece.end:
            run = over.popleft()
            length = min(run.length, piece.end - at)
            mapped.append((at, Run(run.start, length)))
            at += length
            if length < run.length:
                over.appendleft(Run(run.start + length, run.length - length))
    return mapped, [block for run in over for block in range(run.start, run.end)]


def _write_inode(
    system: FileSystem,
    node: _Node,
    mapped: Sequence[tuple[int, Run]],
    spare: Iterator[int],
    epoch: int,
    geometry: _Geometry,
) -> None:
    status, inline = node.status, not node.pieces
    directory = node.kind == stat.S_IFDIR
    if node.parent:
        system.use_inode(node.number, directory=directory)
    for _, run in mapped[node.given :]:
        system.use_blocks(run)
    inode = Inode(
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        size=node.blocks * BLOCK if directory else len(node.target) or status.st_size * (node.kind == stat.S_IFREG),
        links=node.links,
        mtime=int(status.st_mtime),
        clock=epoch,
        blocks=node.blocks,
        flags=EXTENTS if geometry.extents and node.kind in _MAPPED and not (node.target and inline) else 0,
        inline=node.target if inline else b"",
    )
    system.write_inode(node.number, inode, mapped, spare)
    if node.attributes:
        system.set_attributes(node.number, node.attributes, spare)
    if directory:
        blocks = (block for _, run in mapped for block in range(run.start, run.end))
        for block, data in zip(blocks, _directory(node, geometry), strict=True):
            system.write_directory_block(node.number, block, data)


def _copy(node: _Node, mapped: Sequence[tuple[int, Run]], image: int, offset: int) -> None:
    if not mapped:
        return
    descriptor = os.open(node.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for logical, run in mapped:
            os.lseek(descriptor, logical * BLOCK, os.SEEK_SET)
            os.lseek(image, offset + run.start * BLOCK, os.SEEK_SET)
            left = min(run.length * BLOCK, node.status.st_size - logical * BLOCK)
            while left:
                done = os.sendfile(image, descriptor, None, left)
                if not done:
                    raise BuilderError(f"/{os.fsdecode(node.path)} became shorter while it was read")
                left -= done
    finally:
        os.close(descriptor)
