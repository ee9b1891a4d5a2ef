"""The list of an image's blocks."""

import hashlib
import os
from pathlib import Path

import pytest

from builder.formats.blocks import BLOCK_SIZE, BlockList, block_digests, format_blocks, parse_blocks


def test_holes_and_written_zeros_are_the_same(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    with image.open("wb") as file:
        file.truncate(9 * BLOCK_SIZE + 5)
        os.pwrite(file.fileno(), bytes(BLOCK_SIZE), 2 * BLOCK_SIZE)
        os.pwrite(file.fileno(), b"x" * BLOCK_SIZE, 4 * BLOCK_SIZE)
        os.pwrite(file.fileno(), b"end", 9 * BLOCK_SIZE + 2)
    full = hashlib.sha256(b"x" * BLOCK_SIZE).hexdigest()
    last = hashlib.sha256(b"\0\0end").hexdigest()
    heard: list[int] = []
    with image.open("rb") as file:
        lines = list(block_digests(file.fileno(), 9 * BLOCK_SIZE + 5, heard.append))
    assert lines == ["-"] * 4 + [full] + ["-"] * 4 + [last]
    assert heard[-1] == 9 * BLOCK_SIZE + 5
    assert parse_blocks(format_blocks(lines)) == BlockList(lines)
    assert list(BlockList(lines)) == lines
    assert (BlockList(lines)[4], BlockList(lines)[-1], BlockList(lines)[8:]) == (full, last, ("-", last))
    assert BlockList(lines) not in (BlockList(lines[1:]), tuple(lines))


def test_more_blocks_than_are_read_ahead(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    data = b"".join(bytes([number]) * BLOCK_SIZE for number in range(1, 40))
    image.write_bytes(data)
    with image.open("rb") as file:
        lines = list(block_digests(file.fileno(), len(data)))
    assert lines == [hashlib.sha256(bytes([number]) * BLOCK_SIZE).hexdigest() for number in range(1, 40)]


@pytest.mark.parametrize(
    "text", [b"x\n", b"-", b"A" * 64 + b"\n", b"-\n\n", b"\xff\n", b"0" * 63 + b"\n", b"-\r\n", b"0" * 64 + b"\n"]
)
def test_other_lists_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_blocks(text)
