"""A directory of this machine into a tree, as it is: read, never entered through a link, never changed."""

# Names need not be UTF-8; os takes bytes, pathlib does not.
# ruff: noqa: PTH115, PTH118, PTH208

import os
import stat
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.file_tree import Copy, FileTree, Node, TreeError, shown
from builder.formats.layer_tar import CHUNK, Kind, Sink
from builder.host.layers import kept_xattrs
from builder.stages.base.tars import LeftOut

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
}
# What a running system has mounted there is its kernel's; the directories themselves are the tree's.
_EMPTY = (b"proc", b"sys", b"dev")


def read_directory(root: Path, tree: FileTree, left_out: LeftOut, *, scratch: Path) -> None:
    """Add all that is below a directory.

    An ordinary user's own files become root's, as they are to root of a user namespace: nobody but root can make a
    tree with other owners. BuilderError for what cannot be read, and for device nodes outside of /dev.
    """
    if scratch.resolve().is_relative_to(root.resolve()):
        raise BuilderError(
            f"{root}: the factory's own store is in it, so it would be read for ever",
            hint="of a running system make a bundle: ec2-bundle-vol",
        )
    own = os.geteuid()
    nodes: dict[tuple[int, int], bytes] = {}
    base = os.fsencode(root)
    pending = [b""]
    try:
        while pending:
            path = pending.pop()
            status = os.lstat(os.path.join(base, path))
            if stat.S_ISDIR(status.st_mode) and path not in _EMPTY:
                pending += [os.path.join(path, name) for name in os.listdir(os.path.join(base, path))]
            elif stat.S_ISDIR(status.st_mode):
                _note_devices(base, path, left_out)
            _add(base, path, status, tree, left_out, nodes, own)
    except TreeError as error:
        raise BuilderError(f"{root}: {error}") from None
    except PermissionError as error:
        raise BuilderError(
            f"{os.fsdecode(error.filename)}: cannot be read: {error.strerror}", hint="run it as who may read all of it"
        ) from None
    except FileNotFoundError as error:
        raise BuilderError(
            f"{os.fsdecode(error.filename)}: gone while the directory was read",
            hint="give a directory that nobody writes to",
        ) from None


def _add(
    base: bytes,
    path: bytes,
    status: os.stat_result,
    tree: FileTree,
    left_out: LeftOut,
    nodes: dict[tuple[int, int], bytes],
    own: int,
) -> None:
    if stat.S_ISSOCK(status.st_mode):
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise TreeError(
            f"{shown(path)} is a device node; the guest's kernel makes its own in /dev, and none is anywhere else"
        )
    if kind is not Kind.DIRECTORY and status.st_nlink > 1:
        first = nodes.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            tree.link(path, first)
            return
    place = os.path.join(base, path)
    attributes = kept_xattrs(place)
    left_out.labels = left_out.labels or "security.selinux" in os.listxattr(place, follow_symlinks=False)
    tree.add(
        path,
        Node(
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=0 if own and status.st_uid == own else status.st_uid,
            gid=0 if own and status.st_gid == os.getegid() else status.st_gid,
            mtime=int(status.st_mtime_ns // 10**9),
            size=status.st_size if kind is Kind.FILE else 0,
            target=os.readlink(place) if kind is Kind.SYMLINK else b"",
            xattrs=attributes,
            copy=_copy(place, path) if kind is Kind.FILE else None,
        ),
    )


def _note_devices(base: bytes, path: bytes, left_out: LeftOut) -> None:
    left_out.devices += [os.path.join(path, name) for name in os.listdir(os.path.join(base, path))]


def _copy(place: bytes, path: bytes) -> Copy:
    def copy(sink: Sink) -> None:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise TreeError(f"{shown(path)} is no regular file any more: the directory changed while it was read")
            while data := file.read(CHUNK):
                sink.write(data)

    return copy
