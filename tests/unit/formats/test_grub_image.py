"""GRUB's images for BIOS, as they are told where they lie. That they boot so is shown by tests/host/test_disk.py."""

import struct

import pytest

from builder.formats.grub_image import core_sector_of, is_core, place_boot, place_core

BOOT = bytes(510) + b"\x55\xaa"
CORE = bytes(500) + struct.pack("<QHH", 0, 0, 0x820) + b"second sector".ljust(700, b".")


def test_the_boot_sector_knows_where_core_is() -> None:
    placed = place_boot(BOOT, 2048)
    assert placed[0x5C:0x68] == struct.pack("<Q", 2048) + b"\xff\0\x90\x90"
    assert (placed[:0x5C], placed[0x68:]) == (BOOT[:0x5C], BOOT[0x68:])
    assert core_sector_of(placed) == 2048


def test_core_knows_where_the_rest_of_it_is() -> None:
    placed = place_core(CORE, 2048)
    assert len(placed) == 3 * 512
    assert placed[500:512] == struct.pack("<QHH", 2049, 2, 0x820)
    assert (placed[:500], placed[512:]) == (CORE[:500], CORE[512:].ljust(1024, b"\0"))
    assert is_core(placed, 2048)
    assert not is_core(placed, 4096)
    assert not is_core(CORE, 2048)


@pytest.mark.parametrize("data", [b"", BOOT[:-1], BOOT + b"x", bytes(512)])
def test_no_boot_sector(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a boot sector"):
        place_boot(data, 1)


@pytest.mark.parametrize(("data", "said"), [(b"", "too short"), (CORE[:512], "too short"), (bytes(1024), "other")])
def test_no_core(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        place_core(data, 1)
