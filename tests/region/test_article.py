"""The article, executed: `make article` from its first line to its last."""

import subprocess

import pytest

from tests.support.plans import ROOT

SECONDS = 3600


@pytest.mark.host
@pytest.mark.slow
def test_the_walk_through() -> None:
    done = subprocess.run(
        [ROOT / "scripts/article"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("All of it is as it should be\n")
