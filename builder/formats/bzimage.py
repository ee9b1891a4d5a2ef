"""Linux kernel files for x86: what they are, how their payload is compressed, and the ELF file inside.

Sources: the kernel's Documentation/arch/x86/boot.rst (header fields, payload since protocol 2.08) and
include/xen/interface/elfnote.h. A kernel from an image is hostile: no size of its header is trusted.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import lz4.block

from builder.errors import BuilderError

LIMIT = 512 * 1024**2
"""No vmlinux is larger; a payload that unpacks to more is refused."""

# First bytes of a payload to the name of its compression.
MAGIC = (
    (b"\x7fELF", "none"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x89LZO", "lzo"),
)
_XEN_NOTE_ENTRY = 1  # XEN_ELFNOTE_ENTRY: where a paravirtual guest starts. PVH alone has PHYS32_ENTRY (18).
_PT_NOTE = 4
_NOTE_SEGMENTS, _NOTES_SIZE = 8, 64 * 1024  # A vmlinux has one segment of notes, some hundred bytes.
_LZ4_LEGACY = 0x184C2102


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What a loader meets in a kernel file."""

    form: str
    """bzimage, or elf for a vmlinux, compressed as a whole or not."""
    compression: str
    """What the loader has to unpack: none, gzip, xz, lzma, bzip2, lz4, zstd, lzo or unknown."""
    version: str
    """As a bzImage says ("6.1.0-56-cloud-amd64"); "" for an ELF file, which is not searched for it."""
    payload: memoryview
    """The ELF file, compressed so."""


def compression_of(data: bytes | memoryview) -> str:
    """The name of a compression by its first bytes, "unknown" for any other."""
    head = bytes(data[:8])
    return next((name for magic, name in MAGIC if head.startswith(magic)), "unknown")


def parse_kernel(data: bytes) -> Kernel:
    """Read a kernel file's head. BuilderError if it is no kernel, or its header points outside it."""
    view = memoryview(data)
    if data[0x202:0x206] == b"HdrS" and data[0x1FE:0x200] == b"\x55\xaa":
        return _parse_bzimage(view)
    compression = compression_of(view)
    if compression in ("none", "gzip"):
        return Kernel(form="elf", compression=compression, version="", payload=view)
    raise BuilderError("not a kernel: neither a bzImage nor an ELF file, plain or gzip")


def _parse_bzimage(view: memoryview) -> Kernel:
    if len(view) < 0x250:
        raise BuilderError("not a kernel: it ends within its boot header")
    (protocol,) = struct.unpack_from("<H", view, 0x206)
    if protocol < 0x0208:
        raise BuilderError(f"kernel of boot protocol {protocol >> 8}.{protocol & 255:02}: 2.08 or newer is needed")
    setup = ((view[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", view, 0x248)
    if not length or setup + offset + length > len(view):
        raise BuilderError("the kernel's header points outside the file: is it cut short?")
    payload = view[setup + offset : setup + offset + length]
    return Kernel(form="bzimage", compression=compression_of(payload), version=_version(view), payload=payload)


def _version(view: memoryview) -> str:
    (pointer,) = struct.unpack_from("<H", view, 0x20E)
    if not pointer:
        return ""
    text = bytes(view[pointer + 0x200 : pointer + 0x200 + 256]).partition(b"\0")[0].decode("ascii", "replace")
    return text.split(" ")[0]


def unpack_kernel(kernel: Kernel, *, zstd: Callable[[bytes], bytes] | None = None) -> bytes:
    """The ELF file of a kernel. `zstd` unpacks that compression, for which Python 3.11 has nothing of its own.

    BuilderError for damaged data, for LZO (nothing here reads it) and for what is no ELF file once unpacked.
    """
    payload = bytes(kernel.payload)
    match kernel.compression:
        case "none":
            elf = payload
        case "zstd" if zstd is not None:
            elf = zstd(payload[:-4])  # The kernel's build adds the unpacked size, as to all but gzip.
        case "gzip" | "xz" | "lzma" | "bzip2" | "lz4":
            elf, _ = decompress(payload, kernel.compression)
        case other:
            raise BuilderError(
                f"the kernel's payload is compressed with {other}, which is not read here",
                hint="take a kernel package whose payload is gzip, xz, lz4 or zstd",
            )
    if not elf.startswith(b"\x7fELF"):
        raise BuilderError(f"the kernel's {kernel.compression} payload is not an ELF file")
    return elf


def decompress(data: bytes, compression: str, *, limit: int = LIMIT) -> tuple[bytes, bytes]:
    """Unpack one stream; also give what follows it. BuilderError if it is damaged, cut short or larger than `limit`."""
    try:
        out, rest, whole = _unpackers[compression](data, limit)
    except (zlib.error, lzma.LZMAError, lz4.block.LZ4BlockError, OSError, EOFError) as error:
        raise BuilderError(f"damaged {compression} data", detail=str(error)) from None
    if len(out) > limit:
        raise BuilderError(f"{compression} data unpacks to more than {limit >> 20} MiB")
    if not whole:
        raise BuilderError(f"damaged {compression} data", detail="it ends too early")
    return out, rest


def _gzip(data: bytes, limit: int) -> tuple[bytes, bytes, bool]:
    stream = zlib.decompressobj(wbits=31)
    return stream.decompress(data, limit + 1), stream.unused_data, stream.eof


def _bzip2(data: bytes, limit: int) -> tuple[bytes, bytes, bool]:
    reader = bz2.BZ2Decompressor()
    return reader.decompress(data, limit + 1), reader.unused_data, reader.eof


def _xz(data: bytes, limit: int) -> tuple[bytes, bytes, bool]:
    reader = lzma.LZMADecompressor()
    return reader.decompress(data, limit + 1), reader.unused_data, reader.eof


def _lz4_legacy(data: bytes, limit: int) -> tuple[bytes, bytes, bool]:
    """The legacy frame that the kernel uses: a magic, then blocks of 8 MiB at most, each with its packed size.

    The four bytes that the kernel's build adds are too few for another block.
    """
    out: list[bytes] = []
    total, at = 0, 4
    while at + 4 < len(data) and total <= limit:
        packed = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if packed == _LZ4_LEGACY:  # Another frame begins.
            continue
        if at + packed > len(data):
            return b"".join(out), b"", False
        out.append(lz4.block.decompress(data[at : at + packed], uncompressed_size=8 * 1024**2))
        total += len(out[-1])
        at += packed
    return b"".join(out), b"", True


_unpackers = {"gzip": _gzip, "bzip2": _bzip2, "xz": _xz, "lzma": _xz, "lz4": _lz4_legacy}


def elf_class(data: bytes) -> int:
    """32 or 64 for an ELF file, 0 for anything else."""
    return {b"\x7fELF\x01": 32, b"\x7fELF\x02": 64}.get(bytes(data[:5]), 0)


def has_xen_pv_entry(elf: bytes) -> bool:
    """Whether a vmlinux says where a paravirtual Xen guest starts (XEN_ELFNOTE_ENTRY in a PT_NOTE segment)."""
    try:
        segments = _note_segments(elf)[:_NOTE_SEGMENTS]
        return any(_notes_hold_entry(elf, offset, min(size, _NOTES_SIZE)) for offset, size in segments)
    except (struct.error, OverflowError):
        return False


def _note_segments(elf: bytes) -> list[tuple[int, int]]:
    if elf_class(elf) == 64:
        (table,), (size, count) = struct.unpack_from("<Q", elf, 32), struct.unpack_from("<HH", elf, 54)
        headers = [struct.unpack_from("<IIQQQQ", elf, table + i * size) for i in range(count)]
        return [(h[2], h[5]) for h in headers if h[0] == _PT_NOTE]
    (table,), (size, count) = struct.unpack_from("<I", elf, 28), struct.unpack_from("<HH", elf, 42)
    headers = [struct.unpack_from("<IIIII", elf, table + i * size) for i in range(count)]
    return [(h[1], h[4]) for h in headers if h[0] == _PT_NOTE]


def _notes_hold_entry(elf: bytes, offset: int, size: int) -> bool:
    at, end = offset, min(offset + size, len(elf))
    while at + 12 <= end:
        name_size, data_size, kind = struct.unpack_from("<III", elf, at)
        if kind == _XEN_NOTE_ENTRY and elf[at + 12 : at + 12 + name_size] == b"Xen\0":
            return True
        at += 12 + (name_size + 3 & ~3) + (data_size + 3 & ~3)
    return False
