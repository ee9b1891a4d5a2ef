"""Errors that no command expects, at the one place where they end."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.cli import boundary


def code_of(command: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(boundary, "_INTERRUPTS", ())  # the test's own process keeps its signals
    with pytest.raises(SystemExit) as left:
        boundary.enter(command, interrupted="")
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_name_that_no_file_system_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def command() -> int:
        return int((tmp_path / ("a" * 300)).is_dir())

    assert code_of(command, monkeypatch) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("...: File name too long")
    assert said[1:] == ["hint: check the path"]


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")

    assert code_of(command, monkeypatch) == 3
    assert capsys.readouterr().err.startswith("error: /somewhere: No space left on device\n")
