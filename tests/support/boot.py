"""Kernels and initrds as small as they can be."""

import struct

XEN_ENTRY = struct.pack("<III", 4, 8, 1) + b"Xen\0" + bytes(8)
PVH_ENTRY = struct.pack("<III", 4, 8, 18) + b"Xen\0" + bytes(8)


def elf(*, bits: int = 64, xen: bool = True) -> bytes:
    """An ELF file with one PT_NOTE segment, in which a kernel says how Xen starts it, and some bulk."""
    note = XEN_ENTRY if xen else PVH_ENTRY
    if bits == 64:
        header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    else:
        header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        segment = struct.pack("<IIIIIIII", 4, 84, 0, 0, len(note), len(note), 4, 4)
    return b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9) + header + segment + note + bytes(range(256)) * 64


def cpio(name: str, data: bytes = b"", mode: int = 0o100644) -> bytes:
    """One member of a newc archive."""
    fields = (1, mode, 0, 0, 1, 7, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initrd(*names: str) -> bytes:
    """An uncompressed initrd of empty files."""
    return b"".join(cpio(name) for name in (*names, "TRAILER!!!"))
