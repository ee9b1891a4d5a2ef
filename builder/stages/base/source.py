"""What kind of thing an image is, seen from its first bytes: nobody has to say."""

import hashlib
import os
import stat
import tarfile
from pathlib import Path

from builder.errors import BuilderError, RecipeError
from builder.stages.base import oci
from builder.stages.base.disk import format_of

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_USTAR = slice(257, 262)


def kind_of(path: Path) -> tuple[str, str]:
    """(kind, format), as BaseSpec has them. RecipeError for what is not there, or is no image."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return ("oci", "") if oci.is_layout(path) else ("directory", "")
        if stat.S_ISBLK(mode):
            _refuse_mounted(path)
            return "disk", "raw"
        if not stat.S_ISREG(mode):
            raise RecipeError(f"base.image: {path} is neither a file nor a directory nor a block device")
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise RecipeError(f"base.image: {path}: {error.strerror}", hint="look at the path of the image") from None
    if not start:
        raise RecipeError(f"base.image: {path} is empty")
    if start.startswith(_COMPRESSED):
        return "tar", ""
    if start[_USTAR] == b"ustar":
        return ("oci", "") if oci.is_archive(path) else ("tar", "")
    if b"<manifest>" in start or path.name.endswith(".manifest.xml"):
        return "bundle", "raw"
    return "disk", format_of(path)


def digest(path: Path) -> str:
    """SHA-256 of a file or a device, hex."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BuilderError(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_mounted(device: Path) -> None:
    """A file system that is written to while it is read is no image. BuilderError for one that is mounted so."""
    number = device.stat().st_rdev
    name = f"{os.major(number)}:{os.minor(number)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[2] == name and "rw" in words[5].split(","):
            raise BuilderError(
                f"{device} is mounted at {words[4]}, and changes while it is read",
                hint="give a snapshot of it, or mount it read-only meanwhile: mount -o remount,ro",
            )
