"""The outside of a .deb file: an ar archive with a tar archive of what the package says of itself (deb(5), ar(5))."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

_MAGIC = b"!<arch>\n"
_LARGEST = 64 * 1024**2  # of a control archive; the largest of Debian's are below one MiB


class DebFormatError(ValueError):
    """Not a .deb file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """What is read without looking at a package's files."""

    control: str
    """The control paragraph, without an empty line at its end."""
    build_time: int
    """Of the archive's members, seconds since 1970: dpkg-deb takes it from SOURCE_DATE_EPOCH."""


def read_deb(file: BinaryIO, *, zstd: Callable[[bytes], bytes]) -> Deb:
    """Read the beginning of a .deb file, up to its control archive. DebFormatError for anything else."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise DebFormatError("it is no ar archive")
    built = 0
    while header := file.read(60):
        if len(header) != 60 or header[58:] != b"`\n":
            raise DebFormatError("a member's header is damaged")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        time, size = _number(header[16:28]), _number(header[48:58])
        built = max(built, time)
        if name.startswith("control.tar"):
            return Deb(control=_control(name, _whole(file, size), zstd), build_time=built)
        file.seek(size + size % 2, io.SEEK_CUR)
    raise DebFormatError("it has no control archive")


def _number(field: bytes) -> int:
    text = field.decode("ascii", "replace").strip()
    if not text.isdecimal():
        raise DebFormatError(f"{text!r} is not a number")
    return int(text)


def _whole(file: BinaryIO, size: int) -> bytes:
    if size > _LARGEST:
        raise DebFormatError(f"its control archive has {size} bytes")
    data = file.read(size)
    if len(data) != size:
        raise DebFormatError("it ends too early")
    return data


def _control(name: str, packed: bytes, zstd: Callable[[bytes], bytes]) -> str:
    unpack = {".gz": gzip.decompress, ".xz": lzma.decompress, ".zst": zstd, "": bytes}.get(
        name.removeprefix("control.tar")
    )
    if unpack is None:
        raise DebFormatError(f"{name} is packed in an unknown way")
    try:
        with tarfile.open(fileobj=io.BytesIO(unpack(packed)), mode="r:") as members:
            for member in members:
                content = members.extractfile(member) if member.name in ("control", "./control") else None
                if content is not None:
                    return content.read().decode().strip("\n")
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, UnicodeDecodeError) as error:
        raise DebFormatError(f"its control archive cannot be read: {error}") from error
    raise DebFormatError("its control archive has no control file")
