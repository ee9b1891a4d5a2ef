"""What is kept under a key, and for how long."""

import os
from pathlib import Path

from builder.machine import kept

KEYS = tuple(digit * 32 for digit in "0123")


def test_the_last_used_stay(tmp_path: Path) -> None:
    for number, name in enumerate(KEYS):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").touch()
        os.utime(tmp_path / name, (number, number))
    for name in ("lock", "accelerator"):
        (tmp_path / name).touch()
    (tmp_path / "disks").mkdir()
    assert kept.found(tmp_path / KEYS[1])
    kept.prune(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        ["accelerator", "disks", "lock", KEYS[1], KEYS[3]]
    )


def test_what_is_not_there(tmp_path: Path) -> None:
    assert not kept.found(tmp_path / KEYS[0])
    kept.prune(tmp_path)
    assert list(tmp_path.iterdir()) == []
