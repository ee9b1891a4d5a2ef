import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.formats.sparse import Block, read_blocks

LENGTH = 64 * 1024


def blocks(path: Path, size: int | None = None) -> list[Block]:
    with path.open("rb") as file:
        return list(read_blocks(file.fileno(), path.stat().st_size if size is None else size, LENGTH))


def sparse(path: Path, size: int, extents: Iterator[tuple[int, bytes]] | list[tuple[int, bytes]]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in extents:
            file.seek(offset)
            file.write(data)
    return path


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sparse(tmp_path / "image", 10 * LENGTH, [(3 * LENGTH, b"x" * LENGTH)])
    read: list[tuple[int, int]] = []
    pread = os.pread

    def watched(descriptor: int, length: int, offset: int) -> bytes:
        read.append((offset, length))
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", watched)
    assert blocks(path) == [
        *[Block(length=LENGTH)] * 3,
        Block(length=LENGTH, data=b"x" * LENGTH),
        *[Block(length=LENGTH)] * 6,
    ]
    assert read == [(3 * LENGTH, LENGTH)]


def test_a_file_that_shrinks_between_two_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone reads as a hole; who bundles it sees the change at the end (tests/unit/bundles/test_image.py)."""
    path = sparse(tmp_path / "image", 2 * LENGTH, [(LENGTH, b"x" * LENGTH)])
    lseek = os.lseek

    def shrinking(descriptor: int, offset: int, whence: int) -> int:
        if whence == os.SEEK_HOLE:
            os.truncate(path, LENGTH)
        return lseek(descriptor, offset, whence)

    monkeypatch.setattr(os, "lseek", shrinking)
    assert blocks(path) == [Block(length=LENGTH)] * 2


def test_a_last_short_block(tmp_path: Path) -> None:
    path = sparse(tmp_path / "image", LENGTH + 5, [(LENGTH, b"abcde")])
    assert blocks(path) == [Block(length=LENGTH), Block(length=5, data=b"abcde")]


def test_written_zeros_are_holes_too(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(2 * LENGTH + 7))
    assert blocks(path) == [Block(length=LENGTH), Block(length=LENGTH), Block(length=7)]


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 6 * LENGTH),
    extents=st.lists(st.tuples(st.integers(0, 6 * LENGTH), st.integers(1, 2 * LENGTH)), max_size=6),
)
def test_blocks_are_the_content(
    tmp_path_factory: pytest.TempPathFactory, size: int, extents: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("sparse") / "image"
    inside = [(offset, b"\xa5" * min(length, size - offset)) for offset, length in extents if offset < size]
    sparse(path, size, inside)
    found = blocks(path)
    assert b"".join(bytes(block.data or bytes(block.length)) for block in found) == path.read_bytes()
    assert [block.length for block in found] == [min(LENGTH, size - at) for at in range(0, size, LENGTH)]


def test_a_file_system_without_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, offset: int, how: int) -> int:
        raise OSError(errno.EINVAL, "no such seek")

    path = sparse(tmp_path / "image", 3 * LENGTH, [(LENGTH, b"y" * LENGTH)])
    monkeypatch.setattr(os, "lseek", refuse)
    assert blocks(path) == [Block(length=LENGTH), Block(length=LENGTH, data=b"y" * LENGTH), Block(length=LENGTH)]


def test_an_image_that_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"z" * LENGTH)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: pread(fd, min(length, max(0, 1000 - at)), at))
    with pytest.raises(BuilderError, match="ended at byte 1000"):
        blocks(path)
