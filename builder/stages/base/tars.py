"""A tar archive into a tree: GNU, PAX and ustar, plain or compressed, from anybody."""

import gzip
import lzma
import resource
import tarfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from builder.errors import BuilderError
from builder.formats import posix_acl
from builder.formats.file_tree import Copy, FileTree, Node, TreeError, parts, shown
from builder.formats.layer_tar import CHUNK, Kind, Sink
from builder.host import process
from builder.host.layers import is_kept_xattr

LARGEST = 64 * 1024**3
"""Bytes that an archive may unpack to."""
_MEMORY = 1024**3  # what reading one archive's headers may take besides what the process has already
_BLOCK = 512
_XATTR = "SCHILY.xattr."
_ACLS = {"SCHILY.acl.access": "system.posix_acl_access", "SCHILY.acl.default": "system.posix_acl_default"}
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.GNUTYPE_SPARSE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.FIFOTYPE: Kind.FIFO,
}
_OPENERS: dict[str, Callable[[Path], Any]] = {
    "gzip": lambda path: gzip.open(path),  # noqa: SIM115
    "bzip2": BZ2File,
    "xz": lzma.LZMAFile,
}
_FAULTS = (tarfile.TarError, ValueError, OverflowError, EOFError, MemoryError, zlib.error, lzma.LZMAError)


@dataclass(slots=True, kw_only=True)
class LeftOut:
    """What a tree has not taken over from where it was read, for the notes at the end."""

    devices: list[bytes] = field(default_factory=list)
    labels: bool = False
    """SELinux's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One name in an archive: a node, or a hard link to `link`; None for a device that is left out."""

    path: bytes
    node: Node | None = None
    link: bytes | None = None


def read_tar(archive: Path, tree: FileTree, left_out: LeftOut, *, scratch: Path, what: str = "") -> None:
    """Add all that is in an archive to a tree, which reads from the archive (or from a copy in `scratch`) later.

    BuilderError, naming the archive, for what no root tree can have.
    """
    with refusing(what or str(archive)):
        for member in members(plain(archive, scratch), left_out):
            add(tree, member)


def add(tree: FileTree, member: Member) -> None:
    if member.link is not None:
        tree.link(member.path, member.link)
    elif member.node is not None:
        tree.add(member.path, member.node)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever a broken or hostile archive leads to, as one error."""
    try:
        with _bounded_memory():
            yield
    except TreeError as error:
        raise BuilderError(
            f"{what}: {error}", hint="make the archive of a root tree: tar --numeric-owner --xattrs -C ROOT -cf FILE ."
        ) from None
    except _FAULTS as error:
        raise BuilderError(f"{what}: no archive that can be read: {str(error)[:300] or type(error).__name__}") from None


def members(archive: Path, left_out: LeftOut) -> Iterator[Member]:
    """What is in a plain tar. TreeError or one of tarfile's errors for a wrong one."""
    total = 0
    # Closed by whoever ends the process: the nodes read from it later.
    file = archive.open("rb")
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            total += info.size
            if total > LARGEST:
                raise TreeError(f"it unpacks to more than {LARGEST >> 30} GiB")
            yield _member(file, info, left_out)
        _require_end(file, tar.offset)
        tar.fileobj = None  # type: ignore[assignment]


def plain(archive: Path, scratch: Path) -> Path:
    """The archive itself, or what it unpacks to. BuilderError when that is too much."""
    with archive.open("rb") as file:
        start = file.read(8)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")
    if not kind:
        return archive
    target = scratch / f"unpacked-{len(list(scratch.iterdir()))}.tar"
    if kind == "zstd":
        # No program of ours: Python 3.11 has no zstd.
        process.run(
            [
                process.require("prlimit", "util-linux"), f"--fsize={LARGEST}", process.require("zstd", "zstd"),
                "--decompress", "--quiet", "-o", target, archive,
            ],
            capture=True,
        )  # fmt: skip
        return target
    with _OPENERS[kind](archive) as source, target.open("wb") as sink:
        left = LARGEST
        while data := source.read(CHUNK):
            left -= len(data)
            if left < 0:
                raise TreeError(f"it unpacks to more than {LARGEST >> 30} GiB")
            sink.write(data)
    return target


def _member(file: BinaryIO, info: tarfile.TarInfo, left_out: LeftOut) -> Member:
    path = _bytes(info.name)
    parts(path)
    if info.type == tarfile.LNKTYPE:
        return Member(path=path, link=_bytes(info.linkname))
    if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        if not _is_in_dev(path):
            raise TreeError(
                f"{shown(path)} is a device node; the guest's kernel makes its own in /dev, and none is anywhere else"
            )
        left_out.devices.append(path)
        return Member(path=path)
    kind = _KINDS.get(info.type)
    if kind is None:
        raise TreeError(f"{shown(path)} is of a type that no root tree has ({info.type!r})")
    return Member(
        path=path,
        node=Node(
            kind=kind,
            mode=info.mode & 0o7777,
            uid=info.uid,
            gid=info.gid,
            mtime=int(info.mtime),
            size=info.size if kind is Kind.FILE else 0,
            target=_bytes(info.linkname) if kind is Kind.SYMLINK else b"",
            xattrs=_xattrs(path, info.pax_headers, left_out),
            copy=_copy(file, info) if kind is Kind.FILE else None,
        ),
    )


def _is_in_dev(path: bytes) -> bool:
    return parts(path)[:1] == [b"dev"]


def _xattrs(path: bytes, headers: Mapping[str, str], left_out: LeftOut) -> dict[str, bytes]:
    found = {}
    for name, value in headers.items():
        attribute = name.removeprefix(_XATTR)
        if name in _ACLS:
            try:
                found[_ACLS[name]] = posix_acl.attribute(value)
            except ValueError as error:
                raise TreeError(f"{shown(path)}: its access list: {error}; make the tar with --numeric-owner") from None
        elif attribute == "security.selinux" or name == "RHT.security.selinux":
            left_out.labels = True
        elif attribute != name and is_kept_xattr(attribute):
            found[attribute] = _bytes(value)
    return found


def _copy(file: BinaryIO, info: tarfile.TarInfo) -> Copy:
    """A function that gives the file's bytes, holes as zeros."""
    holes = cast("list[tuple[int, int]] | None", info.sparse)  # typeshed says bytes
    pieces = [(0, info.size)] if holes is None else holes
    start, size = info.offset_data, info.size

    def copy(sink: Sink) -> None:
        position, done = start, 0
        for offset, length in pieces:
            if offset < done or length < 0 or offset + length > size:
                raise TreeError(f"{shown(_bytes(info.name))}: its holes overlap")
            _zeros(sink, offset - done)
            file.seek(position)
            left = length
            while left:
                data = file.read(min(left, CHUNK))
                if not data:
                    raise TreeError(f"{shown(_bytes(info.name))}: the archive ends in the middle of it")
                sink.write(data)
                left -= len(data)
            position += length
            done = offset + length
        _zeros(sink, size - done)

    return copy


def _zeros(sink: Sink, size: int) -> None:
    while size:
        sink.write(bytes(min(size, CHUNK)))
        size -= min(size, CHUNK)


def _require_end(file: BinaryIO, offset: int) -> None:
    """tarfile takes a damaged header for the end; a tar ends in zeros."""
    file.seek(offset)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise TreeError(f"it is cut short or damaged after {offset} bytes")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """A header that says of itself that it has gigabytes is read as a whole: then there is an end to it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + _MEMORY
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
