"""Where the user's own files are."""

from pathlib import Path

import pytest

from builder.host import directories


def test_directories_follow_the_users_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert directories.region_directory() == tmp_path / "ami-factory/region"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # the specification: to be ignored
    assert directories.state_directory() == Path.home() / ".local/state/ami-factory"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert directories.cache_directory() == Path.home() / ".cache/ami-factory"
