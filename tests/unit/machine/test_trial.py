"""Whether KVM works is tried, once."""

from pathlib import Path

import pytest

from builder.machine import qemu, trial


def test_tried_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[qemu.Accelerator] = []

    def comes_up(found: list[Path], tried: qemu.Accelerator, place: Path) -> bool:
        asked.append(tried)
        return True

    monkeypatch.setattr(trial, "comes_up", comes_up)
    monkeypatch.setattr(trial, "accessible", lambda: True)
    assert [trial.accelerator(tmp_path), trial.accelerator(tmp_path)] == [qemu.KVM, qemu.KVM]
    assert asked == [qemu.KVM]


def test_nothing_to_try_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "accessible", lambda: False)
    assert trial.accelerator(tmp_path) == qemu.TCG
    assert not trial.comes_up([], qemu.KVM, tmp_path)
    (tmp_path / "vmlinuz-6.1").touch()
    (tmp_path / "initrd.img-6.1").touch()
    assert trial.kernels(tmp_path) == [tmp_path / "vmlinuz-6.1"]
