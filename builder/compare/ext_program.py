"""A program: all of an ext2, ext3 or ext4 file system as one JSON document, read by libext2fs without mounting it.

    python -m builder.compare.ext_program IMAGE OFFSET DIRECTORY LIMIT

The document has `entries` (path to contents.Entry's fields) and `kept`: the package databases, copied to DIRECTORY. It
is a process of its own because a hostile file system may bring the library down; who called it takes libguestfs then.
"""

import hashlib
import json
import resource
import stat
import sys
from dataclasses import asdict, replace
from pathlib import Path

from builder.compare.contents import TEXT_LIMIT, Entry, settings, shown
from builder.compare.packages import DATABASES, LIMIT
from builder.errors import BuilderError
from builder.host.ext2fs_read import ROOT, Node, Reader, reading
from builder.host.ext_image import Place

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
}
_MEMORY = 4 * 1024**3


class _Walk:
    """One walk over all names, every inode read once."""

    def __init__(self, reader: Reader, place: Path, limit: int) -> None:
        self._reader = reader
        self._place = place
        self._left = limit
        self._known: dict[int, Entry] = {}
        self._names: dict[int, list[str]] = {}
        self.entries: dict[str, Entry] = {}
        self.kept: dict[str, str] = {}

    def all(self) -> None:
        waiting, seen = [("", ROOT)], {ROOT}
        self._add("/", ROOT, self._reader.node(ROOT))
        while waiting:
            where, number = waiting.pop()
            for name, inode in sorted(self._reader.names(number)):
                path = f"{where}/{name.decode(errors='surrogateescape')}"
                node = self._reader.node(inode)
                self._add(path, inode, node)
                if stat.S_ISDIR(node.mode):
                    if inode in seen:
                        raise BuilderError("the file system is damaged", detail="a directory has two names")
                    seen.add(inode)
                    waiting.append((path, inode))
        for names in self._names.values():
            for path in names if len(names) > 1 else ():
                self.entries[path] = replace(self.entries[path], same_as=min(names))

    def _add(self, path: str, inode: int, node: Node) -> None:
        if inode not in self._known:
            self._known[inode] = self._read(path, inode, node)
            if path in DATABASES and node.size <= LIMIT and stat.S_ISREG(node.mode):
                self._keep(path, inode)
        if not stat.S_ISDIR(node.mode):
            self._names.setdefault(inode, []).append(path)
        known = self._known[inode]
        self.entries[path] = known if settings(path) or known.text is None else replace(known, text=None)

    def _read(self, path: str, inode: int, node: Node) -> Entry:
        kind = _KINDS.get(stat.S_IFMT(node.mode), "unknown")
        digest, text = self._content(path, inode, node) if kind == "file" else ("", None)
        target = ""
        if kind == "link":
            target = self._reader.target(inode, node).decode(errors="surrogateescape")
        elif kind in ("character", "block"):
            target = node.device
        xattrs = self._reader.attributes(inode)
        return Entry(
            kind=kind,
            mode=stat.S_IMODE(node.mode),
            uid=node.uid,
            gid=node.gid,
            size=node.size if kind == "file" else 0,
            digest=digest,
            target=target,
            mtime=node.mtime,
            xattrs=tuple((name, value.hex()) for name, value in sorted(xattrs.items())),
            text=text,
        )

    def _content(self, path: str, inode: int, node: Node) -> tuple[str, str | None]:
        self._left -= node.size
        if self._left < 0:
            raise BuilderError("the files have more bytes than any disk that they fit on")
        digest = hashlib.sha256()
        data = b""
        remembered = settings(path) and node.size <= TEXT_LIMIT
        for piece in self._reader.content(inode):
            digest.update(piece)
            if remembered:
                data += piece
        return digest.hexdigest(), shown(path, node.mode, data) if remembered else None

    def _keep(self, path: str, inode: int) -> None:
        copy = self._place / f"kept-{len(self.kept)}"
        with copy.open("wb") as file:
            for piece in self._reader.content(inode):
                file.write(piece)
        self.kept[path] = str(copy)


def main() -> int:
    image, offset, place, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with reading(Place(file=Path(image), offset=int(offset))) as reader:
        walk = _Walk(reader, Path(place), int(limit))
        walk.all()
    entries = {path: asdict(entry) for path, entry in walk.entries.items()}
    sys.stdout.write(json.dumps({"entries": entries, "kept": walk.kept}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
