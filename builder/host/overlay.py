"""Overlay mounts of layers, in the one form that works in a user namespace (`userxattr`).

Without `userxattr` such a mount succeeds as well, and fails later: replacing a directory of a lower layer gives EIO
(Linux 6.18). So whoever asks whether overlays work here must replace one: `require_overlay`.
"""

import ctypes
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from builder.errors import HostError

# linux/mount.h
MS_RDONLY = 1
MS_NODEV = 4
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mounted(
    layers: Sequence[Path], *, upper: Path | None, work: Path | None, target: Path, userxattr: bool = True
) -> Iterator[Path]:
    """`layers`, lowest first, merged at `target`; changes go to `upper`, and without one the mount is read-only.

    Layers are handed over as open directories (`/proc/self/fd/N`): a hundred real paths do not fit into the one page
    that mount(2) has for its options, and an open directory cannot be swapped for another one meanwhile.
    Without `userxattr`, which only this machine's root can do, the marks are those that tmpfs keeps before Linux 6.6.
    """
    if not layers:
        raise ValueError("an overlay needs a lower layer")
    with ExitStack() as stack:
        lowest = [] if upper else [_empty(stack, target)]  # A read-only overlay must have two lower layers.
        descriptors = [_opened(stack, path) for path in (*lowest, *layers)]
        options = ["userxattr"] if userxattr else []
        options += ["lowerdir=" + ":".join(f"/proc/self/fd/{each}" for each in reversed(descriptors))]
        if upper and work:
            options += [f"upperdir=/proc/self/fd/{_opened(stack, upper)}"]
            options += [f"workdir=/proc/self/fd/{_opened(stack, work)}"]
        _mount(target, MS_NODEV | (0 if upper else MS_RDONLY), ",".join(options), on=upper or layers[0])
        try:
            yield target
        finally:
            _unmount(target)


def require_overlay(directory: Path) -> None:
    """HostError unless layers can be merged on the file system of `directory`. Call it inside the namespace."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="overlay-") as name:
        lower, upper, work, target = (Path(name, part) for part in ("lower", "upper", "work", "target"))
        for each in (lower, upper, work, target, lower / "replaced"):
            each.mkdir()
        try:
            with mounted([lower], upper=upper, work=work, target=target) as tree:
                (tree / "replaced").rmdir()
                (tree / "replaced").mkdir()
        except OSError as error:
            raise _refused(directory, error) from None


def _opened(stack: ExitStack, path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _empty(stack: ExitStack, target: Path) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=target.parent, prefix="empty-")))


def _mount(target: Path, flags: int, options: str, *, on: Path) -> None:
    arguments = (b"overlay", os.fsencode(target), b"overlay", ctypes.c_ulong(flags), options.encode())
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise _refused(on, OSError(number, os.strerror(number)))


def _unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), 0) != 0 and _libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _refused(place: Path, error: OSError) -> HostError:
    return HostError(
        f"layers cannot be merged at {place}: overlayfs says {error.strerror}",
        hint="put the store on ext4, xfs, btrfs or tmpfs with --store (an overlay cannot lie on another overlay)",
    )
