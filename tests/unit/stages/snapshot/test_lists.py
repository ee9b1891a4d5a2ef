"""From one list of blocks to the next: what is sent makes the image, and nothing is sent without need."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.formats.blocks import ZERO, BlockList, format_blocks
from builder.stages.snapshot import lists
from builder.stages.snapshot.lists import ZEROS, agrees, child_of, differing

A, B = "a" * 64, "b" * 64
images = st.lists(st.sampled_from((ZERO, A, B)), min_size=6, max_size=6)


@given(st.lists(images, min_size=1, max_size=6))
def test_generations(builds: list[list[str]]) -> None:
    """Each build is sent on top of the one before it; what the region then holds is the image."""
    parent = BlockList([ZERO] * 6)
    region: dict[int, str] = {}
    before = [ZERO] * 6
    for image in builds:
        child = child_of(parent, BlockList(image))
        parts = differing(parent, child)
        assert [index for index, _ in parts] == [at for at in range(6) if image[at] != before[at]]
        region.update(parts)
        assert [region.get(at, ZEROS) for at in range(6)] == [ZEROS if each == ZERO else each for each in image]
        assert agrees(child, region.keys())
        assert agrees(child, {at for at, digest in region.items() if digest != ZEROS})
        parent, before = child, image


def test_parts_of_parts() -> None:
    parts = differing(BlockList((A, A, A, A)), BlockList((A, B, ZEROS, B)))
    assert (list(parts), len(parts)) == ([(1, B), (2, ZEROS), (3, B)], 3)
    assert (parts[-1], list(parts[:2])) == ((3, B), [(1, B), (2, ZEROS)])
    assert list(parts.without(lambda index, digest: (index, digest) == (1, B))) == [(2, ZEROS), (3, B)]


@pytest.mark.parametrize(
    ("listed", "good"),
    [
        ({0, 2}, True),
        ({0}, True),  # zeros that were written need not be listed
        ({2}, False),  # a block of data must be
        ({0, 1, 2}, False),
        ({0, 2, 3}, False),  # beyond the end
        (set(), False),
    ],
)
def test_what_a_region_may_list(listed: set[int], good: bool) -> None:
    assert agrees(BlockList((A, ZERO, ZEROS)), listed) is good


def test_kept_and_found_by_digest(tmp_path: Path) -> None:
    place = tmp_path / "lists"
    assert lists.find(place, A) is None
    blocks = BlockList((A, ZERO))
    digest = lists.keep(place, blocks)
    assert lists.keep(place, blocks) == digest == lists.digest_of_list(blocks)
    assert lists.find(place, digest) == blocks
    (place / digest).write_bytes(format_blocks((B, ZERO)))
    assert lists.find(place, digest) is None
    assert [path.name for path in place.iterdir()] == [digest]


def test_the_lists_that_were_used_longest_ago_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_KEPT", 2)
    first, second = lists.keep(tmp_path, BlockList((A,))), lists.keep(tmp_path, BlockList((B,)))
    for digest in (first, second):
        os.utime(tmp_path / digest, (1, 1))
    assert lists.find(tmp_path, first) == BlockList((A,))  # used: so the second one is older now
    third = lists.keep(tmp_path, BlockList((A, B)))
    assert {path.name for path in tmp_path.iterdir()} == {first, third}
    assert lists.find(tmp_path, second) is None


def test_an_image_as_its_volume(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    path.write_bytes(format_blocks((A, ZERO)))
    found = lists.read_image_blocks(path, 1 << 20)
    assert (len(found), found[:2], set(found[2:])) == (2048, (A, ZERO), {ZERO})
    for text, why in ((b"x\n", "cannot be read"), (format_blocks((A,)), "has 1 blocks, and the image has 2")):
        path.write_bytes(text)
        with pytest.raises(BuilderError, match=why):
            lists.read_image_blocks(path, 1 << 20)


@pytest.mark.parametrize(("size", "gib"), [(1, 1), (1 << 30, 1), ((1 << 30) + 1, 2), (10 << 30, 10)])
def test_volumes_are_whole(size: int, gib: int) -> None:
    assert lists.volume_size(size) == gib
