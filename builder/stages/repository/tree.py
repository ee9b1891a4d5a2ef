"""What a package puts where: entries of a tree, the merged /usr, and reading them from a .deb's data archive.

Owners are names here and stay names: rpm resolves them in the tree's own passwd and group when it installs.
"""

import os
import posixpath
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from builder.errors import BuilderError
from builder.stages.repository.definition import Omission

MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"})
"""Directories of / that are links into /usr on a merged system (usrmerge(5))."""


class Kind(Enum):
    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of a package, absolute. `mode` has the setuid, setgid and sticky bits."""

    path: str
    kind: Kind
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    config: bool = False
    moved_from: str = ""
    """Where it was before /usr was merged, if it was elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Names by number, as in the tree's passwd and group."""

    users: Mapping[int, str]
    groups: Mapping[int, str]


def merged_path(path: str) -> str:
    """Where an absolute path is once /usr is merged: /bin/ls is /usr/bin/ls."""
    first = path.split("/", 2)[1]
    return f"/usr{path}" if first in MERGED else path


def merged_target(path: str, target: str) -> str:
    """The target of a link at `path` once /usr is merged; "" if the link would point at itself.

    Absolute targets stay: /lib is a link. A relative one is counted anew when either end has moved.
    """
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if merged_path(resolved) == merged_path(path):
        return ""
    if target.startswith("/") or (merged_path(path) == path and merged_path(resolved) == resolved):
        return target
    return posixpath.relpath(merged_path(resolved), posixpath.dirname(merged_path(path)))


def is_omitted(path: str, kind: Kind, package: str, omissions: tuple[Omission, ...]) -> bool:
    """Whether a path is left out.

    Where some files are kept, their directories come back with them, and a link stays that stands for such a
    directory: /usr/share/doc/libstdc++6 leads to the copyright file of gcc-12-base.
    """
    for omission in omissions:
        tops = [top for top in omission.paths if path == top or path.startswith(f"{top}/")]
        if tops and omission.package in ("", package):
            if kind is Kind.LINK and omission.keep and posixpath.dirname(path) in tops:
                return False
            return kind is Kind.DIRECTORY or posixpath.basename(path) not in omission.keep
    return False


class Unpacker:
    """Writes the members of a .deb's data archive below `root`, with /usr merged, and says what they are.

    The archive is hostile: no member may climb out, pass through a link, or be a device.
    """

    def __init__(
        self, *, package: str, root: Path, accounts: Accounts, omissions: tuple[Omission, ...], skeleton: frozenset[str]
    ) -> None:
        self._package = package
        self._root = root
        self._accounts = accounts
        self._omissions = omissions
        self._skeleton = skeleton
        self._links: set[str] = set()
        self._made: set[str] = {""}

    def unpack(self, archive: Path) -> tuple[tuple[Entry, ...], int]:
        """The entries, sorted by path, and the newest time of modification in the whole archive."""
        entries: dict[str, Entry] = {}
        newest = 0
        try:
            with tarfile.open(archive, "r:") as members:
                for member in members:
                    newest = max(newest, int(member.mtime))
                    entries |= {entry.path: entry for entry in self._write(members, member)}
        except (tarfile.TarError, FileExistsError, FileNotFoundError) as error:
            raise BuilderError(f"{self._package}: its data archive cannot be unpacked", detail=str(error)) from error
        entries |= {path: Entry(path=path, kind=Kind.DIRECTORY) for path in self._kept_directories(entries)}
        return tuple(entries[path] for path in sorted(entries)), newest

    def _kept_directories(self, entries: Mapping[str, Entry]) -> Iterator[str]:
        """Directories that were left out, and hold a file that was kept."""
        for path in list(entries):
            parent = posixpath.dirname(path)
            while is_omitted(parent, Kind.DIRECTORY, self._package, self._omissions):
                yield parent
                parent = posixpath.dirname(parent)

    def _write(self, members: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[Entry]:
        origin = self._checked(member.name)
        path = merged_path(origin)
        kind = self._kind(member)
        if path in self._skeleton or is_omitted(path, kind, self._package, self._omissions):
            return
        target = merged_target(origin, member.linkname) if member.issym() else ""
        if member.issym() and not target:
            return
        place = self._place(path)
        if kind is Kind.DIRECTORY:
            place.mkdir(exist_ok=True)
        elif kind is Kind.LINK:
            place.symlink_to(target)
            self._links.add(path)
        elif member.islnk():
            place.hardlink_to(self._place(merged_path(self._checked(member.linkname))))
        else:
            self._copy(members, member, place)
        if kind is not Kind.DIRECTORY:
            os.utime(place, (member.mtime, member.mtime), follow_symlinks=False)
        yield Entry(
            path=path,
            kind=kind,
            mode=member.mode & 0o7777,
            owner=self._name(self._accounts.users, member.uid, path),
            group=self._name(self._accounts.groups, member.gid, path),
            moved_from=origin if origin != path else "",
        )

    def _copy(self, members: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
        content = members.extractfile(member)
        if content is None:
            raise BuilderError(f"{self._package}: {member.name} has no content")
        with place.open("xb") as file:
            shutil.copyfileobj(content, file, 1024 * 1024)
        place.chmod(0o644)

    def _kind(self, member: tarfile.TarInfo) -> Kind:
        if member.isdir():
            return Kind.DIRECTORY
        if member.issym():
            return Kind.LINK
        if member.isfile() or member.islnk():
            return Kind.FILE
        raise BuilderError(f"{self._package}: {member.name} is a device or a pipe, which no package may bring")

    def _checked(self, name: str) -> str:
        """The absolute path of a member, refused if it could not be a path of a package."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or any(c in name for c in '\n"'):
            raise BuilderError(f"{self._package}: {name!r} is not a path that a package may bring")
        return "/" + "/".join(parts)

    def _place(self, path: str) -> Path:
        """Where a path of the tree is written; its parents are made, and none of them may be a link."""
        parent = posixpath.dirname(path)
        while parent not in ("", "/"):
            if parent in self._links:
                raise BuilderError(f"{self._package}: {path} lies below the link {parent}")
            parent = posixpath.dirname(parent)
        parent = posixpath.dirname(path)
        if parent not in self._made:
            (self._root / parent[1:]).mkdir(parents=True, exist_ok=True)
            self._made.add(parent)
        return self._root / path[1:]

    def _name(self, names: Mapping[int, str], number: int, path: str) -> str:
        if number not in names:
            raise BuilderError(
                f"{self._package}: {path} belongs to the number {number}, which has no account",
                hint="add the account, with the reason, to builder/stages/repository/quickstart.toml",
            )
        return names[number]
