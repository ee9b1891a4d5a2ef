"""GRUB 2's two images for BIOS, told where they are on the disk. Offsets: GRUB 2.06, include/grub/offsets.h and
grub-core/boot/i386/pc/boot.S and diskboot.S; what is patched is what its util/setup.c patches.
"""

import struct

SECTOR = 512
_KERNEL_SECTOR = 0x5C  # of boot.img, 8 bytes: the sector where core.img begins
_BOOT_DRIVE = 0x64  # of boot.img, 1 byte: 0xff is the drive that the BIOS booted from
_DRIVE_CHECK = 0x66  # of boot.img, 2 bytes: a jump over the case of a BIOS that passes no drive
_BLOCK_LIST = struct.Struct("<QHH")  # of core.img, the end of its first sector: first sector, sectors, segment
_SEGMENT = 0x820  # where core.img's second sector is loaded (GRUB_BOOT_I386_PC_KERNEL_SEG, and 512 bytes)
_NOP = b"\x90\x90"


def place_boot(boot: bytes, core_sector: int) -> bytes:
    """boot.img for a hard disk on which core.img begins at `core_sector`. ValueError if it is no boot.img."""
    if len(boot) != SECTOR or boot[510:] != b"\x55\xaa":
        raise ValueError("boot.img is not a boot sector")
    placed = bytearray(boot)
    struct.pack_into("<Q", placed, _KERNEL_SECTOR, core_sector)
    placed[_BOOT_DRIVE] = 0xFF
    placed[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NOP
    return bytes(placed)


def place_core(core: bytes, core_sector: int) -> bytes:
    """core.img, whole sectors, lying in one piece from `core_sector` on. ValueError if it is no core.img."""
    padded = core.ljust(-(-len(core) // SECTOR) * SECTOR, b"\0")
    sectors = len(padded) // SECTOR - 1
    if sectors < 1:
        raise ValueError("core.img is too short")
    if struct.unpack_from("<H", padded, SECTOR - 2) != (_SEGMENT,):
        raise ValueError("core.img does not begin with the sector that reads the others from a disk")
    return padded[: SECTOR - _BLOCK_LIST.size] + _BLOCK_LIST.pack(core_sector + 1, sectors, _SEGMENT) + padded[SECTOR:]


def core_sector_of(boot: bytes) -> int:
    """The sector where a placed boot.img looks for core.img."""
    return int(struct.unpack_from("<Q", boot, _KERNEL_SECTOR)[0])


def is_core(core: bytes, core_sector: int) -> bool:
    """Whether the bytes at `core_sector` are the start of a core.img that was placed there."""
    first, sectors, segment = _BLOCK_LIST.unpack_from(core, SECTOR - _BLOCK_LIST.size)
    return bool(first == core_sector + 1 and sectors > 0 and segment == _SEGMENT)
