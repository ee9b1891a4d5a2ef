"""What `verify` is to look at: a manifest here, a manifest in S3, or an image."""

import re
from dataclasses import dataclass
from pathlib import Path

from builder.errors import RecipeError

__all__ = ["Image", "Manifest", "Stored", "parse"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_PART = re.compile(r".+\.part\.[0-9]+")
_SUFFIXES = (".manifest.xml", ".manifest")  # the short one is that of encrypted manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A file on this machine."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object of S3."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A file or block device on this machine."""

    path: Path


def parse(text: str) -> Manifest | Stored | Image:
    """What is there decides: a path first, then BUCKET/KEY. RecipeError for what can be none of them."""
    if text.startswith("s3://"):
        return _stored(text.removeprefix("s3://"), text)
    path = Path(text)
    if path.is_dir():
        return _inside(path)
    if path.exists():
        return _file(path)
    if "/" in text and not text.startswith((".", "/", "~")):
        return _stored(text, text)
    raise RecipeError(f"{text} is not there", hint="give a manifest, an image, or BUCKET/KEY of a manifest in S3")


def _stored(location: str, text: str) -> Stored:
    bucket, _, key = location.partition("/")
    if _BUCKET.fullmatch(bucket) is None or not key:
        raise RecipeError(f"{text} is not the place of a manifest in S3", hint="write s3://BUCKET/KEY or BUCKET/KEY")
    return Stored(bucket=bucket, key=key)


def _inside(directory: Path) -> Manifest | Image:
    """The one bundle, or the image, that a directory holds, such as an output of the store."""
    try:
        names = sorted(each.name for each in directory.iterdir())
    except OSError as error:
        raise RecipeError(f"{directory} cannot be read: {error.strerror}") from error
    manifests = [name for name in names if name.endswith(_SUFFIXES)]
    if len(manifests) == 1:
        return Manifest(path=directory / manifests[0])
    if not manifests and "disk.raw" in names:
        return Image(path=directory / "disk.raw")
    raise RecipeError(
        f"{directory} holds {len(manifests) or 'no'} manifests",
        detail="\n".join(manifests[:10]),
        hint="name the manifest itself",
    )


def _file(path: Path) -> Manifest | Image:
    """By name, or by the first bytes: XML begins with <, a file system with zeros."""
    if not (path.is_file() or path.is_block_device()):
        raise RecipeError(f"{path} is neither a file nor a block device", hint="write what it gives to a file first")
    if _PART.fullmatch(path.name):
        raise RecipeError(f"{path} is one part of a bundle", hint="give the manifest that lies beside it")
    if path.name.endswith(_SUFFIXES):
        return Manifest(path=path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    return Manifest(path=path) if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else Image(path=path)
