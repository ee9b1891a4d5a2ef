"""A root tree as the tar stream that libguestfs gives of it: every file hashed as it passes, nothing unpacked.

The stream is GNU tar's of the appliance, about an image that may be hostile: names are only compared, never opened.
"""

import hashlib
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from builder.compare.contents import TEXT_LIMIT, Entry, settings, shown
from builder.errors import BuilderError

_PIECE = 1 << 20
_XATTR = "SCHILY.xattr."
_OTHER_XATTRS = {
    "RHT.security.selinux": "security.selinux",
    "SCHILY.acl.access": "acl",
    "SCHILY.acl.default": "acl.default",
}
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
}


@dataclass(slots=True, kw_only=True)
class Read:
    """What a stream held."""

    entries: dict[str, Entry] = field(default_factory=dict)
    kept: dict[str, Path] = field(default_factory=dict)
    """Files that were asked for, by path, to where they are now."""


def read_tree(
    stream: IO[bytes], *, keep: Collection[str], keep_limit: int, place: Path, limit: int, prefix: str = ""
) -> Read:
    """Read a stream to its end. `keep`: files that are written to `place`, none larger than `keep_limit`.

    `prefix` comes before every path. BuilderError when the files have more than `limit` bytes together, as sparse ones
    may, or when the stream is damaged.
    """
    found = Read()
    links: dict[str, str] = {}
    left = limit
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE, errors="surrogateescape") as archive:
            for member in _members(archive):
                path = prefix + _path(member.name)
                if member.islnk():
                    links[path] = prefix + _path(member.linkname)
                    continue
                left -= member.size
                if left < 0:
                    raise BuilderError(f"the files of the image have more than {limit} bytes together")
                wanted = place / f"kept-{len(found.kept)}" if path in keep and member.size <= keep_limit else None
                found.entries[path] = _entry(archive, member, path, wanted)
                if wanted is not None and member.isreg():
                    found.kept[path] = wanted
    except tarfile.TarError as error:
        raise BuilderError(f"libguestfs gave a damaged archive of the image: {error}") from None
    return replace(found, entries=_named(found.entries, links))


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """One by one, none of them remembered."""
    while (member := archive.next()) is not None:
        setattr(archive, "members", [])  # noqa: B010 (typeshed knows no such attribute)
        yield member


def _path(name: str) -> str:
    return "/" + name.removeprefix("./").strip("/") if name not in (".", "./") else "/"


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, keep: Path | None) -> Entry:
    kind = _KINDS.get(member.type, "file")
    target = member.linkname if kind == "link" else ""
    if kind in ("character", "block"):
        target = f"{member.devmajor}:{member.devminor}"
    digest, text = _content(archive, member, path, keep) if kind == "file" else ("", None)
    return Entry(
        kind=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        size=member.size if kind == "file" else 0,
        digest=digest,
        target=target,
        mtime=int(member.mtime),
        xattrs=_xattrs(member.pax_headers),
        text=text,
    )


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, keep: Path | None) -> tuple[str, str | None]:
    """Digest of a file and, of a small one that configures something, its text."""
    digest = hashlib.sha256()
    body = archive.extractfile(member)
    assert body is not None
    remembered = settings(path) and member.size <= TEXT_LIMIT
    data = b""
    sink = keep.open("wb") if keep is not None else None
    try:
        while piece := body.read(_PIECE):
            digest.update(piece)
            if remembered:
                data += piece
            if sink is not None:
                sink.write(piece)
    finally:
        if sink is not None:
            sink.close()
    return digest.hexdigest(), shown(path, member.mode, data) if remembered else None


def _xattrs(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    named = {name.removeprefix(_XATTR): value for name, value in headers.items() if name.startswith(_XATTR)}
    named |= {_OTHER_XATTRS[name]: value for name, value in headers.items() if name in _OTHER_XATTRS}
    return tuple((name, value.encode(errors="surrogateescape").hex()) for name, value in sorted(named.items()))


def _named(entries: Mapping[str, Entry], links: Mapping[str, str]) -> dict[str, Entry]:
    """With every further name of a file: all names of one say which is the first of them, in order.

    Which name comes first in the stream is the file system's to say, so two equal trees may differ in that.
    """
    groups: dict[str, list[str]] = {}
    for path, first in links.items():
        groups.setdefault(first, [first]).append(path)
    found = dict(entries)
    for first, names in groups.items():
        known = entries.get(first)
        if known is None:
            raise BuilderError("libguestfs gave a damaged archive of the image: a hard link to nothing")
        for name in names:
            text = known.text if settings(name) else None
            found[name] = replace(known, same_as=min(names), text=text)
    return found
