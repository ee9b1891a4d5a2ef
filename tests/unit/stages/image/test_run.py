"""The command lines of the image stage, and the sizes it finds."""

import os
from pathlib import Path

import pytest

from builder.stages.image.run import debugfs_script, mke2fs_command
from builder.stages.image.size import BLOCK, MIB, Usage, inode_count, measure, size_for
from builder.stages.image.spec import ImageSpec

SPEC = ImageSpec(
    size=0,
    free=0,
    filesystem="ext3",
    features="^64bit",
    inode_size=128,
    label="root",
    uuid="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11",
    hash_seed="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a12",
    source_epoch=1_700_000_000,
)


def test_the_command_of_mke2fs() -> None:
    assert mke2fs_command(SPEC, inodes=5000, tree=Path("/tree"), image=Path("/disk.raw")) == [
        "mke2fs", "-q", "-F", "-t", "ext3", "-O", "^64bit", "-b", "4096", "-I", "128", "-N", "5000", "-m", "1",
        "-L", "root", "-U", "6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11",
        "-E", f"hash_seed={SPEC.hash_seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        "-d", Path("/tree"), Path("/disk.raw"),
    ]  # fmt: skip


def test_the_script_of_debugfs() -> None:
    assert debugfs_script(SPEC, root_mode=0o755, root_owner=(0, 0), used_inodes=12) == (
        "sif <2> mode 040755\nsif <2> uid 0\nsif <2> gid 0\n"
        "sif <2> ctime @1700000000\nsif <2> atime @1700000000\n"
        "sif <11> ctime @1700000000\nsif <11> atime @1700000000\n"
        "sif <12> ctime @1700000000\nsif <12> atime @1700000000\n"
    )


def test_parts_of_a_second_where_there_is_room() -> None:
    large = ImageSpec(**{name: getattr(SPEC, name) for name in SPEC.__slots__} | {"inode_size": 256})
    assert "sif <2> ctime_extra 0\nsif <2> atime_extra 0\n" in debugfs_script(
        large, root_mode=0o700, root_owner=(0, 0), used_inodes=11
    )


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
