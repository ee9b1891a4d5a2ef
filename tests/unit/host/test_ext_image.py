"""The command lines that make a file system."""

from pathlib import Path

from builder.host.ext_image import Place, mke2fs_command, root_script, times_script
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
    assert mke2fs_command(SPEC, inodes=5000, tree=Path("/tree"), place=Place(file=Path("/disk.raw"))) == [
        "mke2fs", "-q", "-F", "-t", "ext3", "-O", "^64bit", "-b", "4096", "-I", "128", "-N", "5000", "-m", "1",
        "-L", "root", "-U", "6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11",
        "-E", f"hash_seed={SPEC.hash_seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        "-d", Path("/tree"), Path("/disk.raw"),
    ]  # fmt: skip


def test_a_partition_is_a_place_in_the_file() -> None:
    place = Place(file=Path("/disk.raw"), offset=67108864, size=8 * 1024**2)
    command = mke2fs_command(SPEC, inodes=5000, tree=Path("/tree"), place=place)
    assert command[-5:] == [
        f"hash_seed={SPEC.hash_seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard,offset=67108864",
        "-d", Path("/tree"), Path("/disk.raw"), "8192k",
    ]  # fmt: skip
    assert place.device == "/disk.raw?offset=67108864"


def test_the_root_directory_as_debugfs_is_told() -> None:
    assert root_script(mode=0o1755, owner=(5, 6)) == ["sif <2> mode 041755", "sif <2> uid 5", "sif <2> gid 6"]


def test_the_times_as_debugfs_is_told() -> None:
    assert times_script(epoch=1_700_000_000, inode_size=128, used_inodes=12) == [
        "sif <2> ctime @1700000000", "sif <2> atime @1700000000",
        "sif <11> ctime @1700000000", "sif <11> atime @1700000000",
        "sif <12> ctime @1700000000", "sif <12> atime @1700000000",
    ]  # fmt: skip


def test_parts_of_a_second_where_there_is_room() -> None:
    assert times_script(epoch=1_700_000_000, inode_size=256, used_inodes=2) == [
        "sif <2> ctime @1700000000", "sif <2> atime @1700000000", "sif <2> ctime_extra 0", "sif <2> atime_extra 0",
    ]  # fmt: skip
