"""What is laid over a volume so that mke2fs reads of it what the rules say. Runs inside the namespace.

Nothing is copied and the volume is never written to: what is to be missing is hidden by overlayfs's whiteouts in a
layer above it, and the directories that hold them are made again there, as they are below.
"""

# Names in a volume need not be UTF-8: they are str with escapes (os.fsdecode), and taken apart as such.
# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH114, PTH118, PTH119, PTH120

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from builder.bundles.volume_rules import Rules, Verdict
from builder.errors import BuilderError

State = tuple[int, int, int]
"""Of a file: inode, size and modification time."""

_NOBODY = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one file system of a volume holds. Paths are relative to the volume, `hidden` ones to the file system."""

    hidden: list[str] = field(default_factory=list)
    left_out: list[tuple[str, Verdict]] = field(default_factory=list)
    """What the rules hide, a directory once for all that is in it."""
    seen: set[str] = field(default_factory=set)
    """What is kept."""
    files: dict[str, State] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    nobodys: list[str] = field(default_factory=list)
    """Of the user that stands for all whom this namespace does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleeting:
    """How to tell what comes and goes while a volume is read: it was not there at first, or it is one of those that
    were missed, and another one now."""

    first: Survey
    missed: frozenset[str]
    """Names without their directories: mke2fs tells no more."""

    def covers(self, path: str, status: os.stat_result) -> bool:
        if path not in self.first.seen:
            return True
        state = self.first.files.get(path)
        return os.path.basename(path) in self.missed and state is not None and state[0] != status.st_ino


def survey(place: Path, prefix: str, rules: Rules, *, fleeting: Fleeting | None = None) -> Survey:
    """Look at every entry below `place`, which is `prefix` of the volume; hide what the rules and `fleeting` say."""
    found = Survey()
    pending = [(str(place), "", False)]
    while pending:
        directory, inner, inside = pending.pop()
        for entry, status in _entries(directory):
            below = os.path.join(inner, entry.name)
            path = os.path.join(prefix, below)
            is_directory = stat.S_ISDIR(status.st_mode)
            verdict = rules.verdict(path, directory=is_directory, socket=stat.S_ISSOCK(status.st_mode), inside=inside)
            if verdict is Verdict.KEPT and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                verdict = Verdict.WHITEOUT  # ours cannot be told from those of containers' layers
            if verdict is Verdict.EMPTIED:
                found.seen.add(path)
                found.hidden.extend(os.path.join(below, each.name) for each, _ in _entries(entry.path))
            elif verdict is Verdict.SENSITIVE and is_directory and rules.enters(path):
                pending.append((entry.path, below, True))
            elif verdict.hides:
                found.hidden.append(below)
                found.left_out.append((path + "/" * is_directory, verdict))
            elif fleeting is not None and fleeting.covers(path, status):
                found.hidden.append(below)
            else:
                _note(found, path, entry.path, status)
                if is_directory:
                    pending.append((entry.path, below, inside))
    return found


class Layer:
    """An empty directory that is filled with what lies over one file system, `place`."""

    def __init__(self, root: Path, place: Path) -> None:
        self.root = root
        self._place = place
        self._made = [""]
        _copy_attributes(str(place), str(root))

    def hide(self, paths: Iterable[str]) -> None:
        """Whiteouts."""
        for path in paths:
            self._directory(os.path.dirname(path))
            os.mknod(self._above(path), stat.S_IFCHR, 0)

    def add_directory(self, path: str, when: int) -> None:
        """One of root's, 0755, if there is nothing of that name."""
        if not os.path.lexists(self._below(path)) and not os.path.lexists(self._above(path)):
            self._directory(path)
            os.utime(self._above(path), (when, when))

    def add_file(self, path: str, data: bytes, when: int) -> None:
        """One of root's, 0644, in place of what is there."""
        self._directory(os.path.dirname(path))
        target = self._above(path)
        with suppress(FileNotFoundError):
            os.unlink(target)  # a whiteout
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            _clear(target, 0o644)
        os.utime(target, (when, when))

    def finish(self) -> None:
        """Give the directories the times of those that they stand for."""
        for path in self._made:
            with suppress(FileNotFoundError):
                status = os.lstat(self._below(path))
                os.utime(self._above(path), ns=(status.st_atime_ns, status.st_mtime_ns))

    def _above(self, path: str) -> str:
        return os.path.join(self.root, path)

    def _below(self, path: str) -> str:
        return os.path.join(self._place, path)

    def _directory(self, path: str) -> None:
        """`path`, and what is above it, as they are in `place`."""
        if not path or os.path.lexists(self._above(path)):
            return
        self._directory(os.path.dirname(path))
        os.mkdir(self._above(path))
        _clear(self._above(path), 0o755)
        self._made.append(path)
        if os.path.isdir(self._below(path)) and not os.path.islink(self._below(path)):
            _copy_attributes(self._below(path), self._above(path))


def changed(before: dict[str, State], after: dict[str, State]) -> list[str]:
    """The files that were written to or replaced between two surveys; one that is gone was read before it went."""
    return sorted(path for path, state in before.items() if after.get(path, state) != state)


def _entries(directory: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """What is there, by name; what vanishes meanwhile is passed over."""
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda each: each.name)
    except FileNotFoundError:
        return
    except PermissionError:
        return  # `_note` has said so of the directory
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BuilderError(
                f"the volume holds a path that is too long for this machine: {directory[:200]}...",
                hint="leave it out with --exclude",
            ) from None
        raise
    for entry in entries:
        with suppress(FileNotFoundError):
            yield entry, entry.stat(follow_symlinks=False)


def _note(found: Survey, path: str, place: str, status: os.stat_result) -> None:
    found.seen.add(path)
    if _NOBODY in (status.st_uid, status.st_gid):
        found.nobodys.append(path)
    is_directory = stat.S_ISDIR(status.st_mode)
    if stat.S_ISREG(status.st_mode) or is_directory:
        wanted = os.R_OK | os.X_OK if is_directory else os.R_OK
        if not os.access(place, wanted) and os.path.lexists(place):
            found.unreadable.append(path)
    if stat.S_ISREG(status.st_mode):
        found.files[path] = (status.st_ino, status.st_size, status.st_mtime_ns)


def _clear(target: str, mode: int) -> None:
    """Take off what a new file inherits from a directory's default access list."""
    for name in os.listxattr(target, follow_symlinks=False):
        if name.startswith("system.posix_acl_"):
            os.removexattr(target, name, follow_symlinks=False)
    os.chmod(target, mode)


def _copy_attributes(source: str, target: str) -> None:
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        with suppress(OSError):  # tmpfs keeps user.* since Linux 6.6 only
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
