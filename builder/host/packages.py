"""The Debian packages that the factory needs of its host, read from packages.conf beside this file."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIST = Path(__file__).with_name("packages.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One line of the list."""

    name: str
    sign: str
    """A program on PATH, or the pattern of a file: what tells that the package is there."""
    purpose: str


def required_packages() -> tuple[Package, ...]:
    """The list, in its own order."""
    lines = (line.split(maxsplit=2) for line in LIST.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Package(name=name, sign=sign, purpose=purpose) for name, sign, purpose in lines)


def search_path() -> str:
    """Where programs are looked for: the usual places (an ordinary user's PATH lacks sbin), then the caller's."""
    return f"{PATH}:{os.environ.get('PATH', '')}".rstrip(":")


def is_there(sign: str, path: str) -> bool:
    """Whether a package's sign is found on this machine, with `path` as PATH."""
    if sign.startswith("/"):
        return any(Path("/").glob(sign[1:]))
    return shutil.which(sign, path=path) is not None


def missing_packages(present: Callable[[str, str], bool] = is_there) -> tuple[Package, ...]:
    """The packages of the list that this machine lacks."""
    path = search_path()
    return tuple(each for each in required_packages() if not present(each.sign, path))
