import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.formats.sparse_writer import GRAIN, SparseWriter

MIB = 1 << 20


def write(path: Path, size: int, *pieces: tuple[int, bytes]) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        writer = SparseWriter(descriptor)
        for offset, data in pieces:
            writer.write(offset, memoryview(data))
        writer.finish(size)
    finally:
        os.close(descriptor)


def extents(path: Path) -> Iterator[tuple[int, int]]:
    """Where the file has data, as the file system tells."""
    with path.open("rb") as file:
        end = 0
        while end < path.stat().st_size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # only a hole is left
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            yield start, end


@pytest.mark.parametrize(
    ("size", "pieces", "found"),
    [
        pytest.param(MIB, [], [], id="nothing"),
        pytest.param(3 * MIB, [(0, bytes(3 * MIB))], [], id="zeros-of-several-mib"),
        pytest.param(GRAIN, [(0, b"x" * GRAIN)], [(0, GRAIN)], id="all-data"),
        pytest.param(
            4 * GRAIN, [(0, bytes(GRAIN) + b"x" * GRAIN + bytes(2 * GRAIN))], [(GRAIN, 2 * GRAIN)], id="data-between"
        ),
        pytest.param(
            4 * GRAIN,
            [(0, bytes(GRAIN - 512)), (GRAIN - 512, bytes(512) + b"x" * GRAIN + bytes(GRAIN)), (3 * GRAIN - 512, b"")],
            [(GRAIN, 2 * GRAIN)],
            id="pieces-across-grains",
        ),
        pytest.param(
            2 * MIB, [(0, bytes(MIB) + b"x" + bytes(MIB - 1))], [(MIB, MIB + GRAIN)], id="one-byte-in-two-mib"
        ),
        pytest.param(3 * GRAIN, [(2 * GRAIN + 5, b"x")], [(2 * GRAIN, 3 * GRAIN)], id="a-gap-before-data"),
    ],
)
def test_zeros_become_holes(
    size: int, pieces: list[tuple[int, bytes]], found: list[tuple[int, int]], tmp_path: Path
) -> None:
    path = tmp_path / "image"
    write(path, size, *pieces)
    content = bytearray(size)
    for offset, data in pieces:
        content[offset : offset + len(data)] = data
    assert path.read_bytes() == content
    assert list(extents(path)) == found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.tuples(
            st.integers(0, 20_000),  # a gap before it
            st.one_of(st.integers(1, 20_000).map(bytes), st.binary(min_size=1, max_size=100), st.just(b"x" * 9000)),
        ),
        max_size=20,
    ),
    after=st.integers(0, 10_000),
)
def test_any_pieces(pieces: list[tuple[int, bytes]], after: int, tmp_path: Path) -> None:
    content = bytearray()
    placed = []
    for gap, data in pieces:
        content += bytes(gap)
        placed.append((len(content), data))
        content += data
    content += bytes(after)
    path = tmp_path / "image"
    write(path, len(content), *placed)
    assert path.read_bytes() == content


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: real(descriptor, data[:1000], at))
    path = tmp_path / "image"
    content = bytes(range(1, 256)) * 50
    write(path, len(content), (0, content))
    assert path.read_bytes() == content
