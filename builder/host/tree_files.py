"""Reading and writing the files of a root tree from outside, such that no link in it leads out of it.

An absolute symbolic link in a tree means a place in the tree, to the guest; to this machine it means a file of its
own. So every path is walked part by part here, as the guest's kernel would walk it. Nobody else writes to the tree
meanwhile: a layer has one worker.
"""

import os
import shutil
import stat
from pathlib import Path

from builder.errors import BuilderError

LINKS = 40  # The kernel's own limit on links in one path.


def locate(root: Path, path: str) -> Path:
    """Where `path` of the tree is on this machine. Links among its parents are followed inside the tree; the last
    part is not followed, and need not exist."""
    return _walk(root, path, follow_last=False)


def follow(root: Path, path: str) -> Path:
    """As `locate`, but a link at the end is followed as well."""
    return _walk(root, path, follow_last=True)


def _walk(root: Path, path: str, *, follow_last: bool) -> Path:
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    here: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del here[-1:]
            continue
        candidate = root.joinpath(*here, part)
        if candidate.is_symlink() and (pending or follow_last):
            links += 1
            if links > LINKS:
                raise BuilderError(f"{path}: a loop of symbolic links in the tree", hint=f"look at {part}")
            target = str(candidate.readlink())
            if target.startswith("/"):
                here = []
            pending.extend(each for each in reversed(target.split("/")) if each not in ("", "."))
        else:
            here.append(part)
    return root.joinpath(*here)


def exists(root: Path, path: str) -> bool:
    """Whether the guest would find something at `path`."""
    return follow(root, path).exists()


def read(root: Path, path: str) -> bytes | None:
    """The bytes of a regular file; None if the guest would find none there."""
    found = follow(root, path)
    return found.read_bytes() if found.is_file() else None


def read_start(root: Path, path: str, size: int) -> bytes:
    """The first bytes of a regular file; none if the guest would find none there. Nothing else is opened: a pipe of
    that name would be waited for."""
    found = follow(root, path)
    if not found.is_file():
        return b""
    with found.open("rb") as file:
        return file.read(size)


def make_directory(root: Path, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Path:
    """A directory with this mode and owner, there already or not; missing parents are root's, 0755."""
    place = follow(root, path)
    try:
        _make_parents(root, place)
        if not place.is_dir():
            place.mkdir()
    except (FileExistsError, NotADirectoryError):
        raise BuilderError(f"{path}: something on the way is a file, not a directory") from None
    os.chown(place, uid, gid)
    place.chmod(mode)
    return place


def write(root: Path, path: str, data: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
    """A regular file, in place of whatever file or link is there; missing parents are root's, 0755."""
    place = _cleared(root, path)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), mode)


def symlink(root: Path, path: str, target: str) -> None:
    """A symbolic link, in place of whatever file or link is there."""
    place = _cleared(root, path)
    place.symlink_to(target)


def remove(root: Path, path: str) -> None:
    """Remove a file, a link or a whole directory; nothing there is no error."""
    place = locate(root, path)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    elif place.exists():
        place.unlink()


def _cleared(root: Path, path: str) -> Path:
    """Where to make something new: its parents are there, itself is not."""
    place = locate(root, path)
    try:
        _make_parents(root, place)
        if stat.S_ISDIR(place.lstat().st_mode):
            raise BuilderError(f"{path}: is a directory in the tree, and a file was to be written there")
        place.unlink()
    except (FileExistsError, NotADirectoryError):
        raise BuilderError(f"{path}: something on the way is a file, not a directory") from None
    except FileNotFoundError:
        pass
    return place


def _make_parents(root: Path, place: Path) -> None:
    for parent in reversed(place.relative_to(root).parents[:-1]):
        directory = root / parent
        if not directory.is_dir():
            directory.mkdir()
            directory.chmod(0o755)
