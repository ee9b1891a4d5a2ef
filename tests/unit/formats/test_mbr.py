"""The table of one partition: what is written is read again, here and by sfdisk, and damage is named."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.formats import gpt
from builder.formats.mbr import FIRST, LINUX, SECTOR, Partition, begins, format_mbr, parse_mbr
from tests.unit.formats.test_gpt import TABLE

SECTORS = 1024**3 // SECTOR
ROOT = Partition(number=1, kind=LINUX, first=FIRST, sectors=SECTORS - FIRST)
GOOD = format_mbr("d35af4d4", ROOT)


def test_what_is_written_is_read_again() -> None:
    assert len(GOOD) == SECTOR
    assert parse_mbr(GOOD, SECTORS) == (ROOT,)
    assert (ROOT.offset, ROOT.size) == (1024**2, 1023 * 1024**2)
    assert begins(GOOD)


@pytest.mark.host
def test_sfdisk_reads_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.write(GOOD)
        file.truncate(SECTORS * SECTOR)
    shown = subprocess.run(["sfdisk", "--dump", disk], capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[:2] == ["label: dos", "label-id: 0xd35af4d4"]
    assert shown[-1].split(" : ")[1] == "start=        2048, size=     2095104, type=83"


def changed(**bytes_at: int) -> bytes:
    """A good table with bytes replaced, by their places: at_450=0x83."""
    sector = bytearray(GOOD)
    for name, value in bytes_at.items():
        sector[int(name.removeprefix("at_"))] = value
    return bytes(sector)


@pytest.mark.parametrize(
    ("sector", "said"),
    [
        pytest.param(bytes(SECTOR), "its first sector ends without the signature of a partition table", id="zeros"),
        pytest.param(GOOD[:100], "its first sector ends without the signature of a partition table", id="short"),
        pytest.param(changed(at_450=0), "its partition table is empty", id="empty"),
        pytest.param(changed(at_446=0x41), "its first sector is no partition table", id="a boot sector of FAT"),
        pytest.param(changed(at_461=0x7F), "partition 1 does not lie on the disk", id="too long"),
        pytest.param(gpt.format_gpt(TABLE)[0][:SECTOR], "it has a GPT, which PV-GRUB does not read", id="gpt"),
    ],
)
def test_damage(sector: bytes, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_mbr(sector, SECTORS)
    assert str(caught.value) == said
    assert begins(sector) == (said == "partition 1 does not lie on the disk")


@pytest.mark.parametrize("change", [{"first": 0}, {"sectors": 0}, {"sectors": 2**32}])
def test_a_partition_that_no_table_can_say(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="does not fit an MBR"):
        format_mbr("d35af4d4", replace(ROOT, **change))


@given(st.binary(max_size=SECTOR), st.integers(0, 2**33))
def test_any_bytes(start: bytes, sectors: int) -> None:
    """Nothing but ValueError, and never a partition beyond the disk."""
    try:
        found = parse_mbr(start.ljust(SECTOR - 2, b"\0")[: SECTOR - 2] + b"\x55\xaa", sectors)
    except ValueError:
        return
    assert all(each.first > 0 and each.first + each.sectors <= sectors for each in found)
