"""Directories that live as long as their owner: made with a lock, and swept once nobody holds it."""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

_PREFIX = "machine-"
_LOCK = "lock"


def make(base: Path) -> tuple[Path, int]:
    """A new directory, mode 0700, and the descriptor that holds it: whoever inherits that keeps it alive."""
    base.mkdir(parents=True, exist_ok=True)
    sweep(base)
    place = Path(mkdtemp(prefix=_PREFIX, dir=base))
    lock = os.open(place / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return place, lock


def sweep(base: Path) -> None:
    """Remove what killed owners left."""
    for place in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)
