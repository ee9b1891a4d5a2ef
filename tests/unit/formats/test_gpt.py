"""Partition tables: what is written is read again, here and by sfdisk and sgdisk, and damage is named."""

import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats.gpt import (
    BIOS_BOOT,
    EFI_SYSTEM,
    END_SECTORS,
    ROOT,
    SECTOR,
    START_SECTORS,
    Partition,
    Table,
    format_gpt,
    parse_gpt,
    with_boot_code,
)

SECTORS = 1024**3 // SECTOR
IDENTITY = uuid.UUID("d35af4d4-9e6e-571e-a5f5-04c49006e291")


def partition(number: int, kind: uuid.UUID, first: int, last: int, name: str) -> Partition:
    return Partition(number=number, kind=kind, identity=uuid.uuid5(IDENTITY, name), first=first, last=last, name=name)


TABLE = Table(
    identity=IDENTITY,
    sectors=SECTORS,
    partitions=(
        partition(1, ROOT["x86_64"], 131072, 2095103, "root"),
        partition(14, BIOS_BOOT, 2048, 4095, "BIOS boot"),
        partition(15, EFI_SYSTEM, 4096, 131071, "EFI system"),
    ),
)


def written(path: Path, table: Table = TABLE) -> Path:
    start, end = format_gpt(table)
    with path.open("wb") as file:
        file.write(start)
        file.seek(table.sectors * SECTOR - len(end))
        file.write(end)
    return path


def test_what_is_written_is_read_again() -> None:
    start, end = format_gpt(TABLE)
    assert (len(start), len(end)) == (START_SECTORS * SECTOR, END_SECTORS * SECTOR)
    assert parse_gpt(start, end, SECTORS) == TABLE


def test_where_a_partition_lies_in_bytes() -> None:
    root = TABLE.partitions[0]
    assert (root.offset, root.size) == (64 * 1024**2, 959 * 1024**2)


def line(number: int, first: str, size: str, kind: uuid.UUID, name: str) -> str:
    identity = str(uuid.uuid5(IDENTITY, name)).upper()
    place = f"disk{number} : start=      {first}, size=     {size}"
    return f'{place}, type={str(kind).upper()}, uuid={identity}, name="{name}"'


@pytest.mark.host
def test_sfdisk_reads_it(tmp_path: Path) -> None:
    disk = written(tmp_path / "disk")
    done = subprocess.run(["sfdisk", "--dump", "disk"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "label: gpt",
        "label-id: D35AF4D4-9E6E-571E-A5F5-04C49006E291",
        "device: disk",
        "unit: sectors",
        "first-lba: 34",
        "last-lba: 2097118",
        "sector-size: 512",
        "",
        line(1, "131072", "1964032", ROOT["x86_64"], "root"),
        line(14, "  2048", "   2048", BIOS_BOOT, "BIOS boot"),
        line(15, "  4096", " 126976", EFI_SYSTEM, "EFI system"),
    ]
    checked = subprocess.run(["sfdisk", "--verify", disk], capture_output=True, text=True, check=False)
    assert (checked.returncode, "No errors detected." in checked.stdout) == (0, True), checked.stdout


@pytest.mark.parametrize("damage", [510, 446 + 4, SECTOR, SECTOR + 16, SECTOR + 60, 2 * SECTOR + 130])
def test_damage_at_the_start_is_found(damage: int) -> None:
    start, end = format_gpt(TABLE)
    broken = start[:damage] + bytes([start[damage] ^ 1]) + start[damage + 1 :]
    with pytest.raises(ValueError, match=r"MBR|primary"):
        parse_gpt(broken, end, SECTORS)


@pytest.mark.parametrize("damage", [0, -SECTOR, -SECTOR + 16, -SECTOR + 60])
def test_damage_at_the_end_is_found(damage: int) -> None:
    start, end = format_gpt(TABLE)
    place = damage % len(end)
    broken = end[:place] + bytes([end[place] ^ 1]) + end[place + 1 :]
    with pytest.raises(ValueError, match="backup"):
        parse_gpt(start, broken, SECTORS)


def test_a_disk_that_was_cut_off() -> None:
    start, end = format_gpt(TABLE)
    with pytest.raises(ValueError, match="of a disk of another size"):
        parse_gpt(start, end, SECTORS - 8)
    with pytest.raises(ValueError, match="too small"):
        parse_gpt(b"", b"", 0)


@settings(deadline=None)
@given(st.binary(max_size=START_SECTORS * SECTOR), st.binary(max_size=END_SECTORS * SECTOR), st.integers(0, 2**40))
def test_noise_is_a_value_error(start: bytes, end: bytes, sectors: int) -> None:
    with pytest.raises(ValueError, match=r"MBR|primary"):
        parse_gpt(start.ljust(START_SECTORS * SECTOR, b"\0"), end.ljust(END_SECTORS * SECTOR, b"\0"), sectors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first": 33}, "not within the disk"),
        ({"last": SECTORS - END_SECTORS}, "not within the disk"),
        ({"first": 131071}, "lies over another"),
        ({"number": 14}, "no number of its own"),
        ({"number": 129}, "no number of its own"),
        ({"name": "n" * 37}, "longer than 36"),
    ],
)
def test_partitions_that_do_not_fit(change: dict[str, int | str], said: str) -> None:
    root, *others = TABLE.partitions
    moved = replace(TABLE, partitions=(replace(root, **change), *others))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=said):
        format_gpt(moved)


def test_a_boot_sector_leaves_the_table_alone() -> None:
    start, end = format_gpt(TABLE)
    placed = with_boot_code(start, b"\xeb" * SECTOR)
    assert placed[:440] == b"\xeb" * 440
    assert placed[440:] == start[440:]
    assert parse_gpt(placed, end, SECTORS) == TABLE
