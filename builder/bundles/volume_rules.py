"""What of a volume goes into its image, decided by names: pure.

The lists are those of ec2-bundle-vol: five directories that are left empty, names that often hold secrets or are what
editors leave behind, and the udev rules that tie network cards to this machine. `id_ecdsa` and `id_ed25519` are younger
than the original and meant by it all the same.
"""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from builder.errors import RecipeError

LEFT_EMPTY = ("dev", "media", "mnt", "proc", "sys")
OF_THIS_MACHINE = ("etc/udev/rules.d/70-persistent-net.rules", "etc/udev/rules.d/z25_persistent-net.rules")
SENSITIVE = (
    "#*#", ".#*", "*.sw", "*.swo", "*.swp", "*~", "*.pem", "*.priv", "*id_rsa*", "*id_dsa*", "*id_ecdsa*",
    "*id_ed25519*", "*.gpg", "*.jks", ".ssh/authorized_keys", ".bash_history",
)  # fmt: skip
"""Matched against the end of a path, as many parts of it as the pattern has."""


class Verdict(Enum):
    """What becomes of one entry."""

    KEPT = "kept"
    EMPTIED = "left empty"
    EXCLUDED = "excluded"
    SENSITIVE = "filtered"
    SOCKET = "a socket"
    WHITEOUT = "a whiteout of overlayfs"
    OWN = "made by bundling itself, or of this machine"

    @property
    def hides(self) -> bool:
        """It is not in the image, and nothing below it is."""
        return self not in (Verdict.KEPT, Verdict.EMPTIED)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Paths are relative to the volume's root, without a slash at either end. Bytes that are no UTF-8 are escaped
    (os.fsdecode)."""

    exclude: frozenset[str] = frozenset()
    include: frozenset[str] = frozenset()
    """Kept though their names are sensitive; of a directory all that is in it."""
    filtered: bool = True
    emptied: frozenset[str] = frozenset(LEFT_EMPTY)
    own: frozenset[str] = frozenset()
    """What must never be in an image: the image, the bundle beside it, the private key."""

    def verdict(self, path: str, *, directory: bool = False, socket: bool = False, inside: bool = False) -> Verdict:
        """On one path, whose parents were all kept. `inside` a directory with a sensitive name, entered for the sake
        of what is included below it (see `enters`)."""
        if directory and path in LEFT_EMPTY:
            return Verdict.EMPTIED  # excluded or not: a system does not start without them
        if path in self.exclude:
            return Verdict.EXCLUDED
        if path in self.own or path in OF_THIS_MACHINE:
            return Verdict.OWN
        if directory and path in self.emptied:
            return Verdict.EMPTIED
        if socket:
            return Verdict.SOCKET
        if not self.filtered or not (inside or is_sensitive(path)) or self._is_included(path):
            return Verdict.KEPT
        return Verdict.SENSITIVE

    def enters(self, path: str) -> bool:
        """Whether something below this directory is included by name."""
        return path in self._above_included

    def _is_included(self, path: str) -> bool:
        return path in self.include or any(parent in self.include for parent in _parents(path))

    @cached_property
    def _above_included(self) -> frozenset[str]:
        return frozenset(parent for path in self.include for parent in _parents(path))


def is_sensitive(path: str) -> bool:
    """Whether the name is one of those that often hold secrets."""
    return _SENSITIVE.fullmatch("/" + path) is not None


def paths(words: Iterable[str], *, volume: str, option: str) -> frozenset[str]:
    """The absolute paths of an option, relative to the volume.

    The manual has them absolute and relative to the volume at once, so with `-v /mnt/tree` both /mnt/tree/var and /var
    mean the same. Empty words are passed over: AWS's own manual makes the list with `tr`, which leaves one at the end.
    """
    return frozenset(_path(word, volume, option) for word in words if word)


def _path(word: str, volume: str, option: str) -> str:
    if not word.startswith("/"):
        raise RecipeError(f'{option}: "{word}" is not an absolute path', hint="write it from the volume's root: /var/x")
    path, root = posixpath.normpath("/" + word.lstrip("/")), posixpath.normpath(volume)
    if ".." in word.split("/"):
        raise RecipeError(f'{option}: "{word}" leads out of the volume {volume}', hint="write it without ..")
    if root != "/" and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    if path in ("", "/"):
        raise RecipeError(f'{option}: "{word}" is the whole volume', hint="name something in it")
    return path.strip("/")


def _parents(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", "[^/]*")


_SENSITIVE = re.compile("(?:.*/)(?:" + "|".join(map(_expression, SENSITIVE)) + ")", re.DOTALL)
