import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.bundles.contract import SIZE_LIMIT
from builder.bundles.image import open_image
from builder.errors import BuilderError, RecipeError
from builder.formats.sparse import BLOCK, Block

CONTENT = bytes(2 * BLOCK) + b"x" * BLOCK + bytes(BLOCK) + b"end"


def content(blocks: list[Block]) -> bytes:
    return b"".join(block.data or bytes(block.length) for block in blocks)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.seek(2 * BLOCK)
        file.write(CONTENT[2 * BLOCK :])
    return path


@contextmanager
def pipe(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input that gives `data` in small pieces."""
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb", buffering=0) as file:
            for start in range(0, len(data), 65_000):
                file.write(data[start : start + 65_000])

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with os.fdopen(reader, "rb") as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            yield
    finally:
        thread.join(10)


def test_a_file(image: Path) -> None:
    with open_image(image) as opened:
        blocks = list(opened.blocks())
    assert (opened.size, content(blocks)) == (len(CONTENT), CONTENT)
    assert [block.data is None for block in blocks] == [True, True, False, True, False]


@pytest.mark.parametrize("path", [None, Path("-")])
def test_standard_input_is_the_same_blocks(path: Path | None, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_image(image) as opened:
        expected = list(opened.blocks())
    with pipe(CONTENT, monkeypatch), open_image(path, len(CONTENT)) as piped:
        assert list(piped.blocks()) == expected


def test_a_file_as_standard_input_needs_no_size(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with image.open("rb") as file:
        monkeypatch.setattr("sys.stdin", file)
        with open_image(None) as opened:
            assert (opened.size, content(list(opened.blocks()))) == (len(CONTENT), CONTENT)


def test_the_size_of_a_pipe_has_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pipe(b"", monkeypatch),
        pytest.raises(RecipeError, match="size of the image from standard input"),
        open_image(None),
    ):
        pass


@pytest.mark.parametrize(
    ("told", "said"),
    [
        pytest.param(len(CONTENT) + 1, f"ended after {len(CONTENT)} bytes", id="less"),
        pytest.param(len(CONTENT) + 3 * BLOCK, f"ended after {len(CONTENT)} bytes", id="blocks-less"),
        pytest.param(len(CONTENT) - 1, f"goes on after the {len(CONTENT) - 1} bytes", id="more"),
    ],
)
def test_a_pipe_of_another_length(told: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe(CONTENT, monkeypatch), open_image(None, told) as opened, pytest.raises(BuilderError, match=said):
        list(opened.blocks())


@pytest.mark.parametrize(
    ("size", "said"),
    [
        pytest.param(0, "has 0 bytes", id="empty"),
        pytest.param(SIZE_LIMIT + 1, "takes at most 10737418240", id="a-byte-too-many"),
    ],
)
def test_sizes_that_ec2_refuses(size: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, size)
    with pytest.raises(BuilderError, match=said), open_image(path):
        pass
    with pipe(b"", monkeypatch), pytest.raises(BuilderError, match=said), open_image(None, size):
        pass


def test_exactly_10_gib_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, SIZE_LIMIT)
    with open_image(path) as opened:
        assert opened.size == SIZE_LIMIT


def test_more_than_ec2_takes_where_that_is_asked_for(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    with open_image(large, limit=None) as opened:
        assert opened.size == SIZE_LIMIT + 1
    with pytest.raises(BuilderError, match="takes at most 1024"), open_image(large, limit=1024):
        pass


def test_what_is_no_image(tmp_path: Path, image: Path) -> None:
    with pytest.raises(BuilderError, match=r"gone cannot be read: No such file"), open_image(tmp_path / "gone"):
        pass
    with pytest.raises(BuilderError, match="is a directory"), open_image(tmp_path):
        pass
    with pytest.raises(BuilderError, match=rf"has {len(CONTENT)} bytes, not 5"), open_image(image, 5):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda path: os.truncate(path, len(CONTENT) + 1), "changed while", id="grows"),
        pytest.param(lambda path: os.truncate(path, BLOCK), "(ended at byte|changed while)", id="shrinks"),
        pytest.param(lambda path: os.utime(path, ns=(1, 1)), "changed while", id="is-written-to"),
    ],
)
def test_an_image_that_does_not_hold_still(change: object, said: str, image: Path) -> None:
    assert callable(change)
    with open_image(image) as opened:
        blocks = opened.blocks()
        next(blocks)
        change(image)
        with pytest.raises(BuilderError, match=said):
            list(blocks)
