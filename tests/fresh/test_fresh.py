"""README's quick start in an empty Debian root: as root, and as a user with sudo in a path with a space."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can make a Debian root"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed"),
]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "root"
    # Everything that was mounted in it ended with the namespace of the run.
    subprocess.run(["rm", "-rf", "--one-file-system", tmp_path / "root"], check=True)


def tried(root: Path, who: str, *commands: str) -> str:
    done = subprocess.run([RUN, root, who, *commands], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("who", ["root", "user"])
def test_make_ami_twice(root: Path, who: str) -> None:
    """stdout is the AMI's id alone, the same both times; the second time setup says nothing and nothing is built."""
    said = tried(root, who, "make ami && make ami 2>second", "cat second >&2; ! grep -E '^setup:| run ' second")
    assert re.fullmatch(r"(ami-[0-9a-f]{17})\n\1\n", said)


def test_as_ci_does(root: Path) -> None:
    assert " passed" in tried(root, "root", ".ci/run")
