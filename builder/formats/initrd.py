"""Initrds: cpio archives one after the other, plain or compressed, as the kernel reads them.

Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. An initrd from an image is hostile:
names are only ever compared, never written to; sizes are checked; the whole is bounded.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from builder.errors import BuilderError
from builder.formats.bzimage import compression_of, decompress

HEADER = 110
_NEWC = (b"070701", b"070702")
_TRAILER = "TRAILER!!!"
_MAX_ARCHIVES = 64
_MAX_ENTRIES = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of an archive; `name` has no leading "/" or "./"."""

    name: str
    mode: int
    mtime: int
    data: bytes
    device: tuple[int, int] = (0, 0)
    """Major and minor number, of a device node."""


def format_cpio(entries: Iterable[Entry]) -> bytes:
    """One plain archive (newc). Parents must come before what lies in them; all belongs to root."""
    parts: list[bytes] = []
    trailer = Entry(name=_TRAILER, mode=0, mtime=0, data=b"")
    for number, entry in enumerate((*entries, trailer), start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, entry.mtime, len(entry.data), 0, 0, *entry.device, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        parts += [head, bytes(-len(head) % 4), entry.data, bytes(-len(entry.data) % 4)]
    return b"".join(parts)


def read_initrd(data: bytes, *, zstd: Callable[[bytes], bytes] | None = None) -> list[Entry]:
    """All members of all archives, in order. BuilderError when it is damaged, unbounded or in an unknown form.

    `zstd` unpacks that compression; what follows a zstd or LZ4 stream is taken to be part of it.
    """
    entries: list[Entry] = []
    pending = data
    for _ in range(_MAX_ARCHIVES):
        pending = pending.lstrip(b"\0")  # Archives may be padded with zeros.
        if not pending:
            break
        compression = "cpio" if pending[:6] in _NEWC else compression_of(pending)
        match compression:
            case "cpio":
                pending = pending[_read_archive(pending, entries) :]
            case "zstd" if zstd is not None:
                _read_archives(zstd(pending), entries)
                break
            case "gzip" | "xz" | "lzma" | "bzip2" | "lz4":
                plain, pending = decompress(pending, compression)
                _read_archives(plain, entries)
            case _:
                at = len(data) - len(pending)
                raise BuilderError(f"the initrd holds something at byte {at} that is no cpio archive ({compression})")
    else:
        raise BuilderError(f"the initrd has more than {_MAX_ARCHIVES} archives")
    if not entries:
        raise BuilderError("the initrd is empty")
    return entries


def _read_archives(data: bytes, entries: list[Entry]) -> None:
    for _ in range(_MAX_ARCHIVES):
        data = data.lstrip(b"\0")
        if not data:
            return
        data = data[_read_archive(data, entries) :]
    raise BuilderError(f"the initrd has more than {_MAX_ARCHIVES} archives")


def _read_archive(data: bytes, entries: list[Entry]) -> int:
    """Add the members of the archive that `data` begins with; the byte after its trailer."""
    at = 0
    for _ in range(_MAX_ENTRIES):
        header = data[at : at + HEADER]
        if len(header) < HEADER or header[:6] not in _NEWC:
            raise BuilderError(f"the initrd's cpio archive is damaged at byte {at}")
        try:
            fields = [int(header[i : i + 8], 16) for i in range(6, HEADER, 8)]
        except ValueError:
            raise BuilderError(f"the initrd's cpio archive is damaged at byte {at}") from None
        mode, mtime, size, name_size = fields[1], fields[5], fields[6], fields[11]
        body = _aligned(at + HEADER + name_size)
        if name_size == 0 or body + size > len(data):
            raise BuilderError(f"the initrd's cpio archive is cut short at byte {at}")
        name = data[at + HEADER : at + HEADER + name_size - 1].decode("utf-8", "surrogateescape")
        at = _aligned(body + size)
        if name == _TRAILER:
            return at
        entries.append(
            Entry(name=name.removeprefix("./").lstrip("/"), mode=mode, mtime=mtime, data=data[body : body + size])
        )
    raise BuilderError(f"the initrd's cpio archive has more than {_MAX_ENTRIES} members")


def _aligned(offset: int) -> int:
    return offset + 3 & ~3


def module_name(path: str) -> str:
    """The name of a kernel module as modprobe compares it: no folders, no .ko and what follows, "_" for "-"."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def modules_in(names: Iterable[str]) -> frozenset[str]:
    """Module names among file names: of an initrd's members, or the lines of modules.builtin."""
    return frozenset(module_name(name) for name in names if ".ko" in name.rpartition("/")[2])


def missing_modules(wanted: tuple[str, ...], present: frozenset[str]) -> tuple[str, ...]:
    """Those of `wanted` that are not there, spelled as asked for."""
    return tuple(each for each in wanted if module_name(each) not in present)
