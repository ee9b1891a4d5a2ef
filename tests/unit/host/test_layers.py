"""Unpacking beside sweeps, without a namespace: what only a race shows."""

import tempfile
from pathlib import Path

import pytest

from builder.host import layers


def test_a_sweep_between_making_a_directory_and_locking_it_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp

    def made_and_swept(dir: Path, prefix: str) -> str:
        place = make(dir=dir, prefix=prefix)
        Path(place).rmdir()
        return place

    monkeypatch.setattr("builder.host.layers.tempfile.mkdtemp", made_and_swept)
    layers._unpack_object(tmp_path / "layer.tar", "0" * 64, tmp_path / "trees" / ("0" * 64))
    assert list((tmp_path / "trees").iterdir()) == []
