"""An image on a block device, where this machine lets one be made."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bundles.image import open_image
from builder.errors import BuilderError
from builder.formats.sparse import BLOCK

pytestmark = pytest.mark.host

CONTENT = b"x" * 1000 + bytes(2 * BLOCK) + b"y" * (BLOCK - 1000)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "disk.img"
    image.write_bytes(CONTENT)
    command = ["losetup", "--find", "--show", "--read-only", str(image)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    path = made.stdout.strip()
    yield Path(path)
    subprocess.run(["losetup", "--detach", path], check=True)


def test_its_size_is_found_and_all_of_it_is_read(device: Path) -> None:
    with open_image(device) as image:
        blocks = list(image.blocks())
    assert image.size == len(CONTENT)
    assert b"".join(block.data or bytes(block.length) for block in blocks) == CONTENT
    assert [block.data is None for block in blocks] == [False, True, False]


def test_another_size_than_was_said(device: Path) -> None:
    with pytest.raises(BuilderError, match=rf"has {len(CONTENT)} bytes, not 512"), open_image(device, 512):
        pass
