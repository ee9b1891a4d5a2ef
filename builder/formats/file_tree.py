"""A root tree as an index in memory: what each name is, and where its bytes can be read; nothing is unpacked.

So a hostile archive has nothing to write to: its paths, links and devices are judged here, as values, and what is
left is written as one layer (formats/layer_tar.py) that is canonical whatever it was read from.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from builder.formats import layer_tar
from builder.formats.layer_tar import Entry, Kind, Sink

Copy = Callable[[Sink], None]

LARGEST_ID = 65534
"""Of an owner: the namespace in which trees are unpacked has ids up to this one."""
LARGEST_TIME = 0o77777777777
"""Seconds; what ustar can say."""
LARGEST_PATH = 4000
_LARGEST_NAME = 255
_LINKS = 40  # the kernel's own limit on links in one path


class TreeError(ValueError):
    """An entry that no root tree can have, or that is not where it says."""


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A file, directory, link or pipe. Two names of one node are hard links."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: bytes = b""
    """Of a symbolic link."""
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    copy: Copy | None = None
    children: dict[bytes, "Node"] = field(default_factory=dict)


class FileTree:
    """Names and nodes, from the root down."""

    def __init__(self) -> None:
        self.root = Node(kind=Kind.DIRECTORY)

    def add(self, path: bytes, node: Node) -> None:
        """Put a node at `path` (see `parts`). A directory that is there already keeps what is in it; anything else
        takes the place of what is there."""
        names = parts(path)
        if max(node.uid, node.gid) > LARGEST_ID or min(node.uid, node.gid) < 0:
            raise TreeError(
                f"{shown(path)} belongs to {node.uid}:{node.gid}, and trees here hold owners up to {LARGEST_ID}"
            )
        node.mtime = max(0, min(node.mtime, LARGEST_TIME))
        if not names:
            if node.kind is not Kind.DIRECTORY:
                raise TreeError("the root of the tree is no directory")
            node.children = self.root.children
            self.root = node
            return
        parent = self._directory(names[:-1], path)
        before = parent.children.get(names[-1])
        if before is not None and before.kind is Kind.DIRECTORY and node.kind is Kind.DIRECTORY:
            node.children = before.children
        parent.children[names[-1]] = node

    def link(self, path: bytes, target: bytes) -> None:
        """Another name of the node at `target`, which is there already and no directory. No link leads the way."""
        found = self.find(target)
        if found is None or found.kind is Kind.DIRECTORY:
            raise TreeError(f"{shown(path)} is a hard link to {shown(target)}, which is no file of the tree before it")
        if parts(path) == parts(target):
            raise TreeError(f"{shown(path)} is a hard link to itself")
        self.add(path, found)

    def remove(self, path: bytes) -> None:
        """Take a name away, with all that is below; it need not be there."""
        names = parts(path)
        if not names:
            raise TreeError("the root of the tree cannot be taken away")
        parent = self.find(b"/".join(names[:-1]))
        if parent is not None:
            parent.children.pop(names[-1], None)

    def find(self, path: bytes) -> Node | None:
        """What is at a path; no link is followed."""
        node: Node | None = self.root
        for name in parts(path):
            node = node.children.get(name) if node is not None else None
        return node

    def follow(self, path: bytes) -> Node | None:
        """What the guest would find at a path: links are followed, inside the tree. None in a loop of them."""
        pending = [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
        way = [self.root]
        links = 0
        while pending:
            name = pending.pop()
            if name == b"..":
                way = way[:-1] or [self.root]
                continue
            node = way[-1].children.get(name)
            if node is None:
                return None
            if node.kind is Kind.SYMLINK:
                links += 1
                if links > _LINKS:
                    return None
                if node.target.startswith(b"/"):
                    way = [self.root]
                pending += [each for each in reversed(node.target.split(b"/")) if each not in (b"", b".")]
            else:
                way.append(node)
        return way[-1]

    def read(self, path: str, limit: int) -> bytes | None:
        """The first bytes of a regular file, at most `limit`; None if the guest would find none there."""
        node = self.follow(path.encode())
        if node is None or node.kind is not Kind.FILE or node.copy is None:
            return None
        sink = _Limited(limit)
        with suppress(_EnoughError):
            node.copy(sink)
        return bytes(sink.data[:limit])

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Every name, in the order of a layer: by the bytes of whole paths, the root first."""
        found: list[tuple[bytes, Node]] = []
        pending = [(b"", self.root)]
        while pending:
            path, node = pending.pop()
            found.append((path, node))
            for name, child in node.children.items():
                pending.append((path + b"/" + name if path else name, child))
        found.sort(key=lambda pair: pair[0])
        return iter(found)

    def newest(self) -> int:
        """The latest modification time, in seconds since 1970."""
        return max(node.mtime for _, node in self.walk())

    def write(self, sink: Sink, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """The tree as a layer; how many entries it has. TreeError when a file's bytes are not what its size says."""
        names: dict[int, bytes] = {}
        entries = list(self.walk())
        for number, (path, node) in enumerate(entries):
            first = names.setdefault(id(node), path)
            if first != path:
                layer_tar.write_header(Entry(path=path, kind=Kind.HARD_LINK, target=first), sink)
                continue
            layer_tar.write_header(_entry(path, node), sink)
            if node.kind is Kind.FILE and node.size:
                _write_data(path, node, sink)
            if number % 500 == 0:
                progress(number, len(entries))
        sink.write(layer_tar.END)
        return len(entries)

    def _directory(self, names: list[bytes], path: bytes) -> Node:
        """A directory, made with those around it where nothing is: archives need not hold them."""
        node = self.root
        for name in names:
            node = node.children.setdefault(name, Node(kind=Kind.DIRECTORY))
            if node.kind is not Kind.DIRECTORY:
                word = "a symbolic link" if node.kind is Kind.SYMLINK else "no directory"
                raise TreeError(f"{shown(path)} lies below {shown(name)}, which is {word}")
        return node


def parts(path: bytes) -> list[bytes]:
    """The names that a path is made of: relative to the root, where `./` may come first and `/` last.

    TreeError for one that is absolute, climbs, or is longer than this machine's file systems allow.
    """
    if path.startswith(b"/"):
        raise TreeError(f"{shown(path)} is absolute: names are relative to the root of the tree")
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if b".." in names:
        raise TreeError(f'{shown(path)} holds "..", and would lead out of the tree')
    if b"\0" in path or len(path) > LARGEST_PATH or any(len(name) > _LARGEST_NAME for name in names):
        raise TreeError(f"{shown(path)} is no path that a file system could hold")
    return names


def shown(path: bytes) -> str:
    """A path for people: short, and without anything that a terminal would obey."""
    text = path.decode(errors="replace")
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return f'"{plain}"' if len(plain) <= 120 else f'"{plain[:117]}..."'


def _entry(path: bytes, node: Node) -> Entry:
    return Entry(
        path=path,
        kind=node.kind,
        mode=0o777 if node.kind is Kind.SYMLINK else node.mode,
        uid=node.uid,
        gid=node.gid,
        mtime=node.mtime,
        size=node.size if node.kind is Kind.FILE else 0,
        target=node.target if node.kind is Kind.SYMLINK else b"",
        xattrs=node.xattrs,
    )


def _write_data(path: bytes, node: Node, sink: Sink) -> None:
    counted = _Counted(sink)
    if node.copy is not None:
        node.copy(counted)
    if counted.size != node.size:
        raise TreeError(f"{shown(path)} has {counted.size} bytes, and {node.size} were announced")
    sink.write(layer_tar.padding(node.size))


class _Counted:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0

    def write(self, data: bytes, /) -> None:
        self.size += len(data)
        self._sink.write(data)


class _EnoughError(Exception):
    pass


class _Limited:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.data = bytearray()

    def write(self, data: bytes, /) -> None:
        self.data += data
        if len(self.data) >= self._limit:
            raise _EnoughError
