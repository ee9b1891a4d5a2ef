"""The sizes that are found for file systems."""

import os
from pathlib import Path

import pytest

from builder.host.ext_size import BLOCK, MIB, Usage, inode_count, measure, size_for


def test_a_tree_is_measured_by_names_and_sizes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    empty = measure(tree)
    (tree / "one byte").write_text("x")
    os.link(tree / "one byte", tree / "again")
    (tree / "hole").touch()
    os.truncate(tree / "hole", 3 * BLOCK)
    (tree / "short").symlink_to("x")
    (tree / "long").symlink_to("x" * 60)
    found = measure(tree)
    assert found.blocks - empty.blocks == 1 + 3 + 1
    assert found.inodes - empty.inodes == 4


@pytest.mark.parametrize("blocks", [0, 1000, 100_000, 1_000_000])
@pytest.mark.parametrize("free", [0, 256 * MIB])
def test_a_size_is_whole_and_large_enough(blocks: int, free: int) -> None:
    size = size_for(Usage(blocks=blocks, inodes=100), free, 256)
    assert size % MIB == 0
    assert size > blocks * BLOCK + free
    assert size < (blocks * BLOCK + free) * 1.2 + 40 * MIB


def test_enough_inodes() -> None:
    assert inode_count(Usage(blocks=0, inodes=11), 16 * MIB) == 1024
    assert inode_count(Usage(blocks=0, inodes=11), 1024 * MIB) == 65536
    assert inode_count(Usage(blocks=0, inodes=100_000), 1024 * MIB) == 150_000
