"""Every name of an image's file system, with what decides who may do what with it: no contents.

One listing, and a call for each directory: in an emulated appliance a call costs 3 ms, and a megabyte 60 ms.
"""

import errno
import itertools
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from builder.errors import BuilderError

LINKS = 40
"""As many as Linux follows (path_resolution(7))."""
LARGEST_LISTING = 512 * 1024**2
"""Bytes of names: some five million files."""
_TOGETHER = 1000
_NEAR = 3
"""Parts of the paths of links that are read: /bin, /root/.ssh, /home/ann/.ssh. /etc's come with its contents."""
_EXECUTABLE = 0o111
_CAPABILITY = "security.capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name. Of hard links each is one."""

    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    inode: int = 0
    capability: bool = False
    """An executable file that gets capabilities when it is run."""

    @property
    def regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def privileged(self) -> bool:
        """Whether whoever runs it gets more rights than they had."""
        return self.regular and (bool(self.mode & (stat.S_ISUID | stat.S_ISGID)) or self.capability)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All names by path, in their order; the root itself is not among them."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    """The targets of symbolic links, as far up as directories and homes are."""
    unnamed: tuple[str, ...] = ()
    """Names that are not UTF-8, as Python prints them: libguestfs cannot be asked about these."""

    def resolve(self, path: str) -> str:
        """Where a path leads inside the image. A loop leads nowhere."""
        return resolve(path, self.links)

    def files(self) -> Iterator[tuple[str, Entry]]:
        """The regular files, in the order of the entries."""
        return ((path, each) for path, each in self.entries.items() if each.regular)

    def below(self, directory: str) -> Iterator[tuple[str, Entry]]:
        """The regular files below a directory, in that order."""
        return ((path, each) for path, each in self.files() if path.startswith(f"{directory}/"))


def read_tree(handle: Any, scratch: Path) -> Tree:
    """The tree of a file system that is mounted at / of a launched guestfs handle."""
    listing = scratch / "names"
    handle.find0("/", str(listing))
    try:
        if listing.stat().st_size > LARGEST_LISTING:
            raise BuilderError(f"there are more names in the image than fit into {LARGEST_LISTING // 2**20} MiB")
        names, unnamed = parse_listing(listing.read_bytes())
    finally:
        listing.unlink()
    entries = dict(_entries(handle, sorted(names)))
    programs = [path for path, each in entries.items() if each.regular and each.mode & _EXECUTABLE]
    for path in _with_capabilities(handle, programs):
        entries[path] = replace(entries[path], capability=True)
    links = [path for path, each in entries.items() if stat.S_ISLNK(each.mode) and _is_near(path)]
    return Tree(entries=entries, links=dict(_targets(handle, links)), unnamed=unnamed)


def parse_listing(data: bytes) -> tuple[list[str], tuple[str, ...]]:
    """Names that end in NUL: those that are UTF-8, and the others in a form that can be printed."""
    names, unnamed = [], []
    for each in data.split(b"\0")[:-1]:
        try:
            names.append(each.decode())
        except UnicodeDecodeError:
            unnamed.append("/" + each.decode(errors="backslashreplace"))
    return names, tuple(sorted(unnamed))


def resolve(path: str, links: Mapping[str, str]) -> str:
    """Where a path leads inside the image: `links` are the targets of its symbolic links. A loop leads nowhere."""
    for _ in range(LINKS):
        place = _first_link(path, links)
        if place is None:
            return path
        path = joined(place, links[place]) + path[len(place) :]
    return path


def joined(link: str, target: str) -> str:
    """Where the target of a symbolic link lies; .. does not lead out of the root."""
    parts: list[str] = []
    for part in (PurePosixPath(link).parent / target).parts[1:]:
        if part == "..":
            del parts[-1:]
        else:
            parts.append(part)
    return "/" + "/".join(parts)


def _is_near(path: str) -> bool:
    return path.count("/") <= _NEAR and not path.startswith("/etc/")


def _first_link(path: str, links: Mapping[str, str]) -> str | None:
    at = 0
    while at >= 0:
        at = path.find("/", at + 1)
        place = path if at < 0 else path[:at]
        if place in links:
            return place
    return None


def _entries(handle: Any, names: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    for directory, some in _by_directory(f"/{name}" for name in names):
        for name, found in zip(some, handle.lstatnslist(directory or "/", some), strict=True):
            if found["st_ino"] != -1:  # libguestfs's word for what is not there
                yield (
                    f"{directory}/{name}",
                    Entry(
                        mode=found["st_mode"],
                        uid=found["st_uid"],
                        gid=found["st_gid"],
                        size=found["st_size"],
                        inode=found["st_ino"],
                    ),
                )


def _targets(handle: Any, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for directory, some in _by_directory(paths):
        for names, targets in _answers(some, partial(handle.readlinklist, directory or "/")):
            told = targets or [""] * len(names)
            yield from zip((f"{directory}/{each}" for each in names), told, strict=True)


def _with_capabilities(handle: Any, paths: Iterable[str]) -> Iterator[str]:
    """What cannot be asked about is taken to have some."""
    for directory, some in _by_directory(paths):
        try:
            for names, told in _answers(some, partial(handle.lxattrlist, directory or "/")):
                held = [True] * len(names) if told is None else list(_capable(told))
                yield from (f"{directory}/{name}" for name, each in zip(names, held, strict=True) if each)
        except RuntimeError:
            if handle.last_errno() != errno.ENOTSUP:
                raise
            return  # the file system has no attributes


def _capable(told: Iterable[Any]) -> Iterator[bool]:
    """lxattrlist's answer is a list: for each file an entry without a name, whose value is a count, then so many
    attributes (guestfs(3))."""
    left = iter(told)
    for head in left:
        count = int(head["attrval"].rstrip(b"\0") or 0)
        yield any(each["attrname"] == _CAPABILITY for each in list(itertools.islice(left, count)))


def _answers(names: list[str], ask: Callable[[list[str]], Any]) -> Iterator[tuple[list[str], Any]]:
    """Ask about names together. Python's binding takes every answer for UTF-8: where one is not, about half of them,
    and about the one that it was, None is the answer."""
    try:
        yield names, ask(names)
    except UnicodeDecodeError:
        if len(names) == 1:
            yield names, None
            return
        middle = len(names) // 2
        yield from _answers(names[:middle], ask)
        yield from _answers(names[middle:], ask)


def _by_directory(paths: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Directories ("" for the root), each with names in it: as many as a message of libguestfs holds with their
    answers (4 MiB), which takes names of one directory only."""
    directories: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        directories.setdefault(directory, []).append(name)
    for directory, names in directories.items():
        for at in range(0, len(names), _TOGETHER):
            yield directory, names[at : at + _TOGETHER]
