"""Directories that are made once under a key and kept: those that were used last, and no more than a few."""

import os
import re
import shutil
from pathlib import Path

COUNT = 2
_KEY = re.compile(r"[0-9a-f]{32}")


def found(path: Path) -> bool:
    """Whether it is there; from now on it is the one that was used last."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def prune(place: Path) -> None:
    """Remove all but the last used; the caller holds the lock of `place`. What runs from one goes on with its files."""
    keys = sorted((each for each in place.iterdir() if _KEY.fullmatch(each.name)), key=_used, reverse=True)
    for each in keys[COUNT:]:
        gone = each.with_name(f".making-{each.name}")  # nobody is to find half of it
        each.rename(gone)
        shutil.rmtree(gone)


def _used(path: Path) -> int:
    return path.stat().st_mtime_ns
