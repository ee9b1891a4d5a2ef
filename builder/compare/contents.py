"""What an image holds, as plain values: all that two images are compared by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TEXT_LIMIT = 64 * 1024
"""Bytes of the largest file whose text is kept."""

_MENUS = (
    "/boot/grub/menu.lst", "/boot/grub/grub.conf", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg",
    "/boot/extlinux/extlinux.conf",
)  # fmt: skip
_ENTRIES = "/boot/loader/entries/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name of a root tree."""

    kind: str
    """`file`, `directory`, `link`, `fifo`, `character` or `block`"""
    mode: int
    """The permission bits, set-user-id and the like included."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    digest: str = ""
    """SHA-256 of a file's content."""
    target: str = ""
    """Of a symbolic link; `major:minor` of a device."""
    mtime: int = 0
    xattrs: tuple[tuple[str, str], ...] = ()
    """Name and value in hex, sorted; capabilities, ACLs and SELinux labels too."""
    same_as: str = ""
    """The first, in order, of the names of a file that has several."""
    text: str | None = field(default=None, repr=False)
    """Of a small file that configures something and that everybody may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed package, as the image's own database knows it."""

    name: str
    version: str
    """Epoch and release included, as the distribution writes it."""
    architecture: str
    size: int = 0
    """Bytes that it takes when installed, as it says itself."""
    license: str = ""
    source: str = ""
    """What it was built from: a source package, as its own database names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All of an image, or of a root tree."""

    entries: Mapping[str, Entry]
    """By path, which begins with a slash; files of the EFI system partition begin with `esp:/`."""
    packages: tuple[Package, ...] = ()
    disk: Mapping[str, str] = field(default_factory=dict)
    """Facts of partition table and file systems by name, and digests of what lies outside of file systems."""


def settings(path: str) -> bool:
    """Whether a file configures something: under /etc, or a boot menu."""
    return path.startswith(("/etc/", _ENTRIES)) or path in _MENUS


def shown(path: str, mode: int, data: bytes) -> str | None:
    """The text of a file of settings, None where it may be a secret, or is no text.

    What only its owner may read is never shown, and no private key that somebody left open.
    """
    if not settings(path) or not mode & 0o004 or len(data) > TEXT_LIMIT or b"PRIVATE KEY" in data or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
