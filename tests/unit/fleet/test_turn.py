"""One build of a fleet at a time."""

import os
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.fleet.turn import turn


def test_the_second_is_told_who_has_it(tmp_path: Path) -> None:
    with turn(tmp_path, "night"):
        with (
            pytest.raises(BuilderError, match=f"being built already, by process {os.getpid()}"),
            turn(tmp_path, "night"),
        ):
            pass
        with turn(tmp_path, "another"):
            pass
    with turn(tmp_path, "night"):
        pass
