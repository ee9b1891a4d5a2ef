"""Kernel files: made here byte by byte, and the host's own where there is one."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest

from builder.errors import BuilderError
from builder.formats import bzimage

NOTE = struct.pack("<III", 4, 8, 1) + b"Xen\0" + bytes(8)


def elf(note: bytes = NOTE) -> bytes:
    """A 64-bit ELF file with one PT_NOTE segment and some bulk."""
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    return header + segment + note + bytes(range(256)) * 64


def lz4_legacy(data: bytes) -> bytes:
    blocks = [lz4.block.compress(data[i : i + 8192], store_size=False) for i in range(0, len(data), 8192)]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks)


def kernel_file(payload: bytes, version: bytes = b"6.1.0-1-cloud-amd64 (x@y) #1") -> bytes:
    setup = bytearray(2 * 512)
    setup[0x1F1] = 1
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<HxxxxxxH", setup, 0x206, 0x020F, 0x300 - 0x200)
    setup[0x300 : 0x300 + len(version)] = version
    struct.pack_into("<II", setup, 0x248, 16, len(payload))
    return bytes(setup) + bytes(16) + payload + b"after"


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "lz4": lz4_legacy,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_payload_comes_back(compression: str) -> None:
    data = COMPRESSIONS[compression](elf()) + (b"" if compression == "none" else struct.pack("<I", len(elf())))
    kernel = bzimage.parse_kernel(kernel_file(data))
    assert (kernel.form, kernel.compression, kernel.version) == ("bzimage", compression, "6.1.0-1-cloud-amd64")
    assert bzimage.unpack_kernel(kernel) == elf()


def test_zstd_needs_a_program() -> None:
    kernel = bzimage.parse_kernel(kernel_file(b"\x28\xb5\x2f\xfdpacked" + b"size"))
    assert bzimage.unpack_kernel(kernel, zstd=lambda data: elf() if data.endswith(b"packed") else b"") == elf()
    with pytest.raises(BuilderError, match="compressed with zstd, which is not read here"):
        bzimage.unpack_kernel(kernel)


def test_a_vmlinux_plain_or_gzip() -> None:
    for data, compression in ((elf(), "none"), (gzip.compress(elf()), "gzip")):
        kernel = bzimage.parse_kernel(data)
        assert (kernel.form, kernel.compression, kernel.version) == ("elf", compression, "")
        assert bzimage.unpack_kernel(kernel) == elf()


def edited(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "not a kernel", id="empty"),
        pytest.param(b"#!/bin/sh\n" * 100, "not a kernel", id="script"),
        pytest.param(kernel_file(elf())[:0x206], "ends within its boot header", id="cut-header"),
        pytest.param(kernel_file(elf())[:-300], "points outside the file", id="cut-payload"),
        pytest.param(edited(kernel_file(elf()), 0x206, b"\x07\x02"), "boot protocol 2.07", id="old"),
        pytest.param(kernel_file(b""), "points outside the file", id="no-payload"),
        pytest.param(kernel_file(b"\x89LZO" + bytes(40)), "compressed with lzo", id="lzo"),
        pytest.param(kernel_file(b"whatever it is"), "compressed with unknown", id="unknown"),
        pytest.param(kernel_file(gzip.compress(elf())[:-40]), "damaged gzip data", id="gzip-cut"),
        pytest.param(kernel_file(lzma.compress(elf())[:-40]), "damaged xz data", id="xz-cut"),
        pytest.param(kernel_file(b"BZh9" + bytes(40)), "damaged bzip2 data", id="bzip2-garbage"),
        pytest.param(kernel_file(lz4_legacy(elf())[:-40]), "damaged lz4 data", id="lz4-cut"),
        pytest.param(kernel_file(b"\x02\x21\x4c\x18\x04\x00\x00\x00\xff\xff\xff\xff"), "damaged lz4", id="lz4-garbage"),
        pytest.param(kernel_file(gzip.compress(b"text")), "not an ELF file", id="no-elf"),
    ],
)
def test_hostile_kernels_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(BuilderError, match=why):
        bzimage.unpack_kernel(bzimage.parse_kernel(data))


def test_a_bomb_is_refused() -> None:
    for name in ("gzip", "xz", "bzip2", "lz4"):
        with pytest.raises(BuilderError, match="unpacks to more than 1 MiB"):
            bzimage.decompress(COMPRESSIONS[name](bytes(3 * 1024**2)), name, limit=1024**2)


def test_the_note_of_a_paravirtual_kernel() -> None:
    assert bzimage.has_xen_pv_entry(elf())
    assert not bzimage.has_xen_pv_entry(elf(note=struct.pack("<III", 4, 8, 18) + b"Xen\0" + bytes(8)))
    assert not bzimage.has_xen_pv_entry(elf()[:100])
    assert not bzimage.has_xen_pv_entry(b"\x7fELF\x01")


def test_elf_class() -> None:
    assert [bzimage.elf_class(data) for data in (elf(), b"\x7fELF\x01", b"#!/bin/sh", b"")] == [64, 32, 0, 0]


@pytest.mark.host
def test_the_hosts_own_kernel() -> None:
    found = sorted(Path("/boot").glob("vmlinuz-*-cloud-amd64"))
    if not found:
        pytest.skip("no cloud kernel under /boot")
    kernel = bzimage.parse_kernel(found[0].read_bytes())
    assert (kernel.compression, kernel.version) == ("lz4", found[0].name.removeprefix("vmlinuz-"))
    vmlinux = bzimage.unpack_kernel(kernel)
    assert bzimage.elf_class(vmlinux) == 64
    assert bzimage.has_xen_pv_entry(vmlinux)
