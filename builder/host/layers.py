"""Root trees made of layers: unpack, merge, and pack what was changed as the next layer.

A layer is known by the digest of its tar (formats/layer_tar.py). Unpacked trees lie under `surroundings.trees`, one
directory a digest: a cache, filled by rename, that may be deleted at any time. Whoever uses a tree holds a shared
lock on its directory; `forget_trees` leaves those alone. Everything here runs inside the namespace.
"""

# Names in a tree are bytes and need not be UTF-8; os takes bytes, pathlib does not.
# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH119, PTH211

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from builder.errors import BuilderError
from builder.formats import layer_tar
from builder.formats.layer_tar import Entry, Kind
from builder.host import process
from builder.host.namespace import inside
from builder.host.overlay import mounted

PARTIAL = "partial-"
_OPAQUE_MARK = "user.overlay.opaque"
_OVERLAY_MARKS = "user.overlay."
# Others (security.selinux, trusted.*) say something of this machine, not of the layer.
_KEPT_XATTRS = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
}


class Layer(Protocol):
    """A finished layer (stages/contract.py: Input)."""

    @property
    def path(self) -> Path: ...
    @property
    def result(self) -> Mapping[str, Any]: ...


class Places(Protocol):
    """Where unpacked trees are (stages/contract.py: Surroundings)."""

    @property
    def trees(self) -> Path: ...


class Context(Protocol):
    """What is needed here of stages/contract.py: StageContext. Stages are above this room, so it is not imported."""

    @property
    def layers(self) -> Sequence[Layer]: ...
    @property
    def output(self) -> Path: ...
    @property
    def scratch(self) -> Path: ...
    @property
    def surroundings(self) -> Places: ...
    @property
    def progress(self) -> Callable[[str, int, int, str], None]: ...
    @property
    def note(self) -> Callable[[str], None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RootTree:
    """A merged tree at `path`; what is changed there appears in `upper`."""

    path: Path
    upper: Path | None


@contextmanager
def root_tree(context: Context, *, writable: bool) -> Iterator[RootTree]:
    """The layers among the inputs, merged. Give `upper` to `commit_layer` after the block has ended."""
    with ExitStack() as stack:
        layers = [stack.enter_context(_unpacked(each, context.surroundings.trees)) for each in context.layers]
        place = Path(tempfile.mkdtemp(dir=context.scratch, prefix="root-"))
        upper = _directory(place / "upper") if writable else None
        if upper and not layers:
            yield RootTree(path=upper, upper=upper)
            return
        path = stack.enter_context(
            mounted(
                layers or [_directory(place / "nothing")],
                upper=upper,
                work=_directory(place / "work") if writable else None,
                target=_directory(place / "tree"),
            )
        )
        yield RootTree(path=path, upper=upper)


def commit_layer(context: Context, upper: Path, source_epoch: int) -> dict[str, Any]:
    """Write `layer.tar` to the output, and keep the tree itself so that the next step has nothing to unpack.

    `upper` is made equal to what unpacking gives (times clamped and in whole seconds, no sockets, no marks of
    overlayfs but opaqueness) and is gone afterwards.
    """
    found = _normalise(upper, source_epoch, context.note)
    packed = context.output / "layer.tar"
    with packed.open("wb", buffering=0) as file:
        sink = LayerSink(file)
        _pack(found, sink, lambda done: context.progress("pack", done, len(found), "entries"))
        digest, size = sink.finish()
    context.surroundings.trees.mkdir(parents=True, exist_ok=True)
    _keep(upper, context.surroundings.trees / digest)
    return {"digest": digest, "size": size, "entries": len(found), "digests": {"layer.tar": digest}}


def kept_xattrs(place: bytes) -> dict[str, bytes]:
    """The extended attributes of an entry that belong to a tree: others say something of this machine."""
    return {
        name: os.getxattr(place, name, follow_symlinks=False)
        for name in os.listxattr(place, follow_symlinks=False)
        if is_kept_xattr(name)
    }


def is_kept_xattr(name: str) -> bool:
    """Whether an extended attribute of this name belongs to a tree."""
    return name in _KEPT_XATTRS or (name.startswith("user.") and not name.startswith(_OVERLAY_MARKS))


def unpack(source: layer_tar.Source, target: Path) -> None:
    """Fill the empty directory `target` with a layer, in overlayfs's own form of whiteouts.

    BuilderError if it is not a layer that `commit_layer` could have written; nothing is ever written elsewhere.
    """
    try:
        _Unpacking(target).run(source)
    except (layer_tar.LayerFormatError, FileExistsError) as error:
        raise BuilderError(f"this layer cannot be unpacked: {error}", hint="run: ami-factory store verify") from None


def forget_trees(trees: Path, keep: Collection[str] = ()) -> list[str]:
    """Delete unpacked trees but those of the digests `keep` and those in use, and what killed builds left behind."""
    gone = []
    for path in sorted(trees.iterdir()) if trees.is_dir() else ():
        if path.name in keep:
            continue
        with suppress(OSError), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            doomed = path
            if not path.name.startswith(PARTIAL):
                doomed = Path(tempfile.mkdtemp(dir=trees, prefix=PARTIAL))
                path.rename(doomed)
            shutil.rmtree(doomed)
            gone.append(path.name)
    return gone


def forget_unused_trees(trees: Path) -> None:
    """`forget_trees`, for those who are outside the namespace, where the files' owners are not theirs to remove."""
    process.run(inside([sys.executable, "-m", "builder.host.layers", trees]), capture=True)


@contextmanager
def _unpacked(layer: Layer, trees: Path) -> Iterator[Path]:
    """The tree of a layer, made if it is missing, and not deleted by `forget_trees` as long as the block lasts."""
    digest = str(layer.result["digest"])
    path = trees / digest
    while True:
        with ExitStack() as stack:
            try:
                held = stack.enter_context(_locked(path, fcntl.LOCK_SH))
            except FileNotFoundError:
                _unpack_object(layer.path / "layer.tar", digest, path)
                continue
            if not _is(path, held):
                continue  # Somebody deleted it between our opening and our locking it.
            yield path
            return


def _unpack_object(packed: Path, digest: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=PARTIAL))
    with ExitStack() as stack:
        try:
            held = stack.enter_context(_locked(partial, fcntl.LOCK_SH))
        except FileNotFoundError:
            return  # A sweep was in between: the caller tries again.
        if not _is(partial, held):
            return  # The same, while we waited for its lock.
        try:
            with packed.open("rb") as file:
                source = _Hashing(file)
                unpack(source, partial)
            if source.digest() != digest:
                raise BuilderError(
                    f"{packed} is damaged: its digest is not {digest[:12]}...", hint="run: ami-factory store verify"
                )
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _keep(partial, path)


def _keep(made: Path, path: Path) -> None:
    """Put a finished tree in its place; if another builder was quicker, or it is another file system, drop ours."""
    try:
        made.rename(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EXDEV):
            raise
        shutil.rmtree(made)


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _directory(path: Path) -> Path:
    path.mkdir()
    path.chmod(0o755)
    return path


@dataclass(frozen=True, slots=True)
class _Found:
    """A name in an upper tree: its path for the system, its path in the layer, and what it is."""

    place: bytes
    path: bytes
    status: os.stat_result
    mtime: int


def _normalise(upper: Path, epoch: int, note: Callable[[str], None]) -> list[_Found]:
    """Make the tree what unpacking its layer would make, and list it in the order of the layer."""
    found = []
    for each in _walk(os.fsencode(upper), epoch):
        if stat.S_ISSOCK(each.status.st_mode):
            note(f"/{os.fsdecode(each.path)}: a socket, left out of the layer")
            os.unlink(each.place)
        elif os.path.basename(each.path).startswith(layer_tar.WHITEOUT):
            raise BuilderError(
                f"/{os.fsdecode(each.path)}: names that start with .wh. cannot be kept in a layer",
                hint="that is how layers mark deleted files; give it another name",
            )
        else:
            found.append(each)
    for each in found:
        _drop_overlay_marks(each.place, each.status)
        os.utime(each.place, (each.mtime, each.mtime), follow_symlinks=False)
    found.sort(key=lambda each: each.path)
    return found


def _walk(root: bytes, epoch: int) -> Iterator[_Found]:
    """Everything in the tree, its root first, as it was when first seen; times clamped."""

    def found(place: bytes, path: bytes, status: os.stat_result) -> _Found:
        return _Found(place, path, status, max(0, min(status.st_mtime_ns // 10**9, epoch)))

    pending = [(root, b"")]
    yield found(root, b"", os.lstat(root))
    try:
        while pending:
            place, path = pending.pop()
            with os.scandir(place) as entries:
                for entry in entries:
                    inner = path + b"/" + entry.name if path else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, inner))
                    yield found(entry.path, inner, entry.stat(follow_symlinks=False))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise BuilderError(
            f"the tree holds a path that is too long for this machine: {os.fsdecode(path)[:200]}...",
            hint="no path may be longer than about 4000 bytes",
        ) from None


def _drop_overlay_marks(place: bytes, status: os.stat_result) -> None:
    """Overlayfs notes where an entry came from (`origin`, `impure`); such marks are of this machine only."""
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        for name in os.listxattr(place, follow_symlinks=False):
            if name.startswith(_OVERLAY_MARKS) and name != _OPAQUE_MARK:
                os.removexattr(place, name, follow_symlinks=False)


def _pack(found: list[_Found], sink: "LayerSink", progress: Callable[[int], None]) -> None:
    names: dict[tuple[int, int], bytes] = {}
    entries = [(entry, each) for each in found for entry in _entries(each, names)]
    entries.sort(key=lambda pair: pair[0].path)
    for index, (entry, each) in enumerate(entries):
        layer_tar.write_header(entry, sink)
        if entry.kind is Kind.FILE and entry.size:
            _pack_data(each.place, entry.size, sink)
        if index % 500 == 0:
            progress(min(index, len(found)))
    sink.write(layer_tar.END)
    progress(len(found))


def _entries(each: _Found, names: dict[tuple[int, int], bytes]) -> list[Entry]:
    """What the layer says of one name: itself, and that it hides what is below."""
    if _is_whiteout(each.status):
        return [layer_tar.whiteout(each.path)]
    entry = _entry(each, names)
    if entry.kind is Kind.DIRECTORY and _is_opaque(each.place):
        return [entry, layer_tar.opaque(each.path)]
    return [entry]


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(place: bytes) -> bool:
    try:
        return os.getxattr(place, _OPAQUE_MARK, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _entry(each: _Found, names: dict[tuple[int, int], bytes]) -> Entry:
    status = each.status
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise BuilderError(
            f"/{os.fsdecode(each.path)}: a device node, which a layer cannot hold",
            hint="the guest's kernel makes its own device nodes in /dev (devtmpfs)",
        )
    target = b""
    if kind is not Kind.DIRECTORY and status.st_nlink > 1:
        target = names.setdefault((status.st_dev, status.st_ino), each.path)
        if target != each.path:
            return Entry(path=each.path, kind=Kind.HARD_LINK, target=target)
    return Entry(
        path=each.path,
        kind=kind,
        mode=0o777 if kind is Kind.SYMLINK else stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=each.mtime,
        size=status.st_size if kind is Kind.FILE else 0,
        target=os.readlink(each.place) if kind is Kind.SYMLINK else b"",
        xattrs=kept_xattrs(each.place),
    )


def _pack_data(place: bytes, size: int, sink: "LayerSink") -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        left = size
        while left:
            chunk = os.read(descriptor, min(left, layer_tar.CHUNK))
            if not chunk:
                raise BuilderError(f"{os.fsdecode(place)} became shorter while it was packed")
            sink.write(chunk)
            left -= len(chunk)
    finally:
        os.close(descriptor)
    sink.write(layer_tar.padding(size))


class LayerSink:
    """Gathers small writes, and hashes what goes to the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._held = 0
        self._size = 0

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._held += len(data)
        if self._held >= layer_tar.CHUNK:
            self._flush()

    def finish(self) -> tuple[str, int]:
        """The digest and size of everything."""
        self._flush()
        return self._sha256.hexdigest(), self._size

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._sha256.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)
        self._waiting.clear()
        self._held = 0


class _Hashing:
    """Hashes what is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._sha256.update(data)
        return data

    def digest(self) -> str:
        return self._sha256.hexdigest()


class _Unpacking:
    """One layer on its way into a directory. Parents must be directories of the same layer, made before: so no
    symbolic link is ever followed, and none leads out."""

    def __init__(self, target: Path) -> None:
        self._root = os.fsencode(target)
        self._directories: dict[bytes, Entry] = {b"": Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)}
        self._others: set[bytes] = set()

    def run(self, source: layer_tar.Source) -> None:
        for entry, copy in layer_tar.read_entries(source):
            parent, _, name = entry.path.rpartition(b"/")
            if parent not in self._directories or entry.path in self._others:
                raise layer_tar.LayerFormatError(f"{entry.path!r} has no directory to be in")
            if name == layer_tar.OPAQUE:
                os.setxattr(self._place(parent), _OPAQUE_MARK, b"y", follow_symlinks=False)
            elif name.startswith(layer_tar.WHITEOUT):
                self._whiteout(parent, name.removeprefix(layer_tar.WHITEOUT))
            elif entry.kind is Kind.DIRECTORY:
                self._make_directory(entry)
            else:
                self._make(entry, copy)
        for entry in self._directories.values():
            self._set_time(entry)

    def _place(self, path: bytes) -> bytes:
        return self._root + b"/" + path if path else self._root

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise layer_tar.LayerFormatError(f"a whiteout of {name!r} in {parent!r}")
        os.mknod(self._place(parent) + b"/" + name, stat.S_IFCHR, os.makedev(0, 0))

    def _make_directory(self, entry: Entry) -> None:
        place = self._place(entry.path)
        if entry.path:
            os.mkdir(place, 0o700)
        self._directories[entry.path] = entry
        self._set_owner(entry, place)

    def _make(self, entry: Entry, copy: Callable[[layer_tar.Sink], None]) -> None:
        place = self._place(entry.path)
        self._others.add(entry.path)
        if entry.kind is Kind.HARD_LINK:
            if entry.target not in self._others:
                raise layer_tar.LayerFormatError(f"{entry.path!r} is a link to {entry.target!r}, which is not there")
            os.link(self._place(entry.target), place, follow_symlinks=False)
            return
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.target, place)
        elif entry.kind is Kind.FIFO:
            os.mkfifo(place, 0o600)
        else:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                copy(file)
        self._set_owner(entry, place)
        self._set_time(entry)

    def _set_owner(self, entry: Entry, place: bytes) -> None:
        """Owner first: changing it clears set-user-id bits and capabilities."""
        os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(place, entry.mode)
        for name, value in entry.xattrs.items():
            if not is_kept_xattr(name):
                raise layer_tar.LayerFormatError(f"{entry.path!r} has the attribute {name}")
            os.setxattr(place, name, value, follow_symlinks=False)

    def _set_time(self, entry: Entry) -> None:
        os.utime(self._place(entry.path), (entry.mtime, entry.mtime), follow_symlinks=False)


if __name__ == "__main__":
    forget_trees(Path(sys.argv[1]))
