"""The image stage with real mke2fs: equal bytes each time, whole file systems, clear words when it does not fit."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from builder.errors import BuilderError
from builder.formats.blocks import BLOCK_SIZE, ZERO, block_digests, parse_blocks
from builder.machine import image_files
from builder.stages.image.spec import ImageSpec
from builder.stages.verify.mbr_rules import read_partitions
from tests.support.layers import EPOCH, directory, file, noise, varied_tree, write_layer

pytestmark = pytest.mark.host
MIB = 1024**2
SPEC = ImageSpec(
    size=0,
    free=16 * MIB,
    filesystem="ext4",
    features="^64bit,^metadata_csum,^orphan_file",
    inode_size=256,
    label="root",
    uuid="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11",
    hash_seed="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a12",
    source_epoch=EPOCH,
)
Stage = Callable[..., Any]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="ext4"),
        pytest.param({"filesystem": "ext3"}, id="ext3"),
        pytest.param({"filesystem": "ext3", "inode_size": 128}, id="ext3 with small inodes"),
        pytest.param({"features": "64bit,metadata_csum"}, id="ext4 with checksums"),
        pytest.param({"size": 64 * MIB}, id="a size of the recipe's"),
    ],
)
def test_equal_bytes_elsewhere_later_and_as_another_user(
    stage: Stage, trees: Path, other_user: str, change: dict[str, Any]
) -> None:
    spec = replace(SPEC, **change)
    layers = [
        write_layer(trees / "packages", "packages", varied_tree()),
        write_layer(trees / "configure", "configure", [directory("etc"), file("etc/fstab", "")]),
    ]
    first = stage("image.run", spec, place=trees / "first", inputs=layers)
    time.sleep(1.1)  # the clock's next second
    (trees / "home of another").mkdir()
    (trees / "home of another").chmod(0o777)
    second = stage("image.run", spec, place=trees / "home of another/b", inputs=layers, user=other_user)
    images = [trees / "first/output/disk.raw", trees / "home of another/b/output/disk.raw"]
    assert subprocess.run(["cmp", *images], check=False).returncode == 0
    assert first == second
    checked = subprocess.run(["e2fsck", "-f", "-n", images[0]], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert images[0].stat().st_size == first["size"] == (spec.size or first["size"])
    assert images[0].stat().st_blocks * 512 < first["used"] + 2 * MIB


def test_a_disk_with_an_mbr(stage: Stage, trees: Path, tmp_path: Path) -> None:
    """The same file system a MiB further on, of the same bytes each time, in which files are found by their paths."""
    layers = [write_layer(trees / "packages", "packages", varied_tree())]
    plain = stage("image.run", SPEC, place=trees / "plain", inputs=layers)
    spec = replace(SPEC, mbr="d35af4d4")
    made = [stage("image.run", spec, place=trees / name, inputs=layers) for name in ("first", "second")]
    assert made[0] == made[1]
    assert {**made[0], "size": 0, "digests": {}} == {**plain, "size": 0, "digests": {}} | {"zero_blocks": ANY}
    assert made[0]["size"] == plain["size"] + MIB
    image, without = (trees / name / "output/disk.raw" for name in ("first", "plain"))
    same = ["cmp", "--ignore-initial", f"{MIB}:0", image, without]
    assert subprocess.run(same, check=False).returncode == 0
    (root,) = read_partitions(image)
    place = image_files.place_of_root(image)
    assert (place.offset, place.size) == (root.offset, root.size) == (MIB, plain["size"])
    assert image_files.place_of_root(without).offset == 0
    data = [image_files.require(each, "/etc/passwd", tmp_path) for each in (image, without)]
    assert data[0] == data[1]


def debugfs(image: Path, request: str) -> str:
    done = subprocess.run(["debugfs", "-R", request, image], capture_output=True, text=True, check=True)
    return done.stdout


def test_everything_of_the_tree_is_in_the_image(stage: Stage, trees: Path) -> None:
    layers = [
        write_layer(trees / "packages", "packages", varied_tree()),
        write_layer(trees / "customise", "customise", [file(".wh.fifo"), file("etc-x"), directory("new", mode=0o1777)]),
    ]
    stage("image.run", SPEC, place=trees / "run", inputs=layers)
    image = trees / "run/output/disk.raw"
    large = debugfs(image, "stat /large")
    assert re.search(r"Mode:  04755 (?s:.*)User:  1000   Group: 65000 .*Size: 3000000\n", large)
    assert "Links: 2" in large
    assert "fast link" in debugfs(image, "stat /short").lower()
    assert "cap" in debugfs(image, "ea_list /capable")
    assert 'user.note (4) = "kept"' in debugfs(image, "ea_list /capable")
    assert "overlay" not in debugfs(image, "ea_list /new")
    listed = debugfs(image, "ls -p /")
    assert "/fifo/" not in listed
    assert re.search(r"/\d+/041777/0/0/new/", listed)
    subprocess.run(["debugfs", "-R", f"dump /large {trees}/dumped", image], capture_output=True, check=True)
    assert (trees / "dumped").read_bytes() == noise(3_000_000)
    times = set(
        re.findall(r"[acm]time: 0x([0-9a-f]+)", debugfs(image, "stat /etc/passwd") + debugfs(image, "stat <2>"))
    )
    assert times == {f"{EPOCH:x}", f"{EPOCH - 5:x}"}


def test_the_blocks_are_those_of_the_image(stage: Stage, trees: Path) -> None:
    layers = [write_layer(trees / "packages", "packages", varied_tree())]
    result = stage("image.run", SPEC, place=trees / "run", inputs=layers)
    lines = parse_blocks((trees / "run/output/blocks").read_bytes())
    with (trees / "run/output/disk.raw").open("rb") as image:
        assert list(block_digests(image.fileno(), result["size"])) == list(lines)
        image.seek(lines.index(ZERO) * BLOCK_SIZE)
        assert image.read(BLOCK_SIZE) == bytes(BLOCK_SIZE)
        assert all(each == ZERO for number, each in enumerate(lines) if not has_data(image.fileno(), number))
    assert result["zero_blocks"] == lines.count(ZERO) > 10


def has_data(descriptor: int, block: int) -> bool:
    try:
        return os.lseek(descriptor, block * BLOCK_SIZE, os.SEEK_DATA) < (block + 1) * BLOCK_SIZE
    except OSError:
        return False


@pytest.mark.parametrize(
    ("change", "most"),
    [
        pytest.param(file("d07/f003", noise(115_000)), 10, id="a file that grows"),
        pytest.param(file("d07/new", noise(30_000)), 25, id="a new file"),
        pytest.param(file("large", noise(3_200_000)), 15, id="a large file that grows"),
        pytest.param(file("d07/f003", noise(110_000, "other")), 3, id="a file of the same length"),
    ],
)
def test_a_change_leaves_the_other_blocks_as_they_are(
    stage: Stage, trees: Path, change: tuple[Any, bytes], most: int
) -> None:
    names = [f"d{number // 20:02}/f{number % 20:03}" for number in range(600)]
    files = [file(name, noise(20_000 + index % 7 * 30_000, name)) for index, name in enumerate(names)]
    directories = [directory(f"d{number:02}") for number in range(30)]
    before = write_layer(trees / "before", "packages", [*directories, *files, file("large", noise(3_000_000))])
    parents = [directory("d07")] if b"/" in change[0].path else []
    after = write_layer(trees / "after", "configure", [*parents, change])
    lists = []
    for name, layers in (("first", [before]), ("second", [before, after])):
        stage("image.run", replace(SPEC, size=192 * MIB), place=trees / name, inputs=layers)
        lists.append(parse_blocks((trees / name / "output/blocks").read_bytes()))
    different = sum(one != other for one, other in zip(*lists, strict=True))
    assert sum(each != ZERO for each in lists[0]) > 130
    assert 0 < different <= most


@pytest.mark.parametrize("filesystem", ["ext3", "ext4"])
@pytest.mark.parametrize(
    "files",
    [
        pytest.param([], id="nothing"),
        pytest.param([file(f"f{index:05}", "x") for index in range(4_000)], id="many small files"),
        pytest.param([file("large", noise(40_000_000))], id="one large file"),
    ],
)
def test_a_size_found_leaves_what_was_asked(stage: Stage, trees: Path, files: list[Any], filesystem: str) -> None:
    layers = [write_layer(trees / "packages", "packages", files)]
    spec = replace(SPEC, filesystem=filesystem)
    result = stage("image.run", spec, place=trees / "run", inputs=layers)
    shown = subprocess.run(
        ["dumpe2fs", "-h", trees / "run/output/disk.raw"], capture_output=True, text=True, check=True
    ).stdout
    numbers = {name: int(value) for name, value in re.findall(r"^([A-Z].*?): +(\d+)$", shown, re.MULTILINE)}
    left = (numbers["Free blocks"] - numbers["Reserved block count"]) * 4096
    assert spec.free <= left < spec.free + result["size"] // 8 + 8 * MIB
    assert numbers["Free inodes"] > 500


def test_a_tree_that_does_not_fit(stage: Stage, trees: Path) -> None:
    layers = [write_layer(trees / "packages", "packages", [file("large", noise(20 * MIB))])]
    with pytest.raises(BuilderError) as error:
        stage("image.run", replace(SPEC, size=16 * MIB), place=trees / "run", inputs=layers)
    assert error.value.brief == "image.size: the tree does not fit into 16MiB"
    needed = int(re.findall(r"about (\d+)MiB", error.value.hint)[0])
    stage("image.run", replace(SPEC, size=needed * MIB), place=trees / "as told", inputs=layers)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        pytest.param({"size": 11 * 1024 * MIB}, "image.size", id="asked for"),
        pytest.param({"free": 10 * 1024 * MIB}, "image.free", id="found"),
        pytest.param({"size": 3 * 1024**2 * MIB}, "image.size", id="three terabytes"),
    ],
)
def test_more_than_ec2_allows(stage: Stage, trees: Path, change: dict[str, int], hint: str) -> None:
    layers = [write_layer(trees / "packages", "packages", [])]
    with pytest.raises(BuilderError, match="EC2 allows 10GiB") as error:
        stage("image.run", replace(SPEC, **change), place=trees / "run", inputs=layers)
    assert hint in error.value.hint
