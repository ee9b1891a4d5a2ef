"""The signing keys that recipes ship are the ones that the recipes name: one key a file, of this fingerprint.

Each file was taken from the package distribution-gpg-keys, and its fingerprint compared with a second public copy:
osbuild's repository definitions (CentOS, Rocky), Bottlerocket's sources (Amazon Linux).
"""

import re
import subprocess
from pathlib import Path

import pytest

from builder.stages.dnf import primary_fingerprints
from tests.support.plans import ROOT

pytestmark = pytest.mark.host
KEYS = sorted((ROOT / "recipes").glob("*/RPM-GPG-KEY-*"))


def test_there_are_some() -> None:
    assert len(KEYS) >= 5


@pytest.mark.parametrize("key", [pytest.param(each, id=f"{each.parent.name}/{each.name}") for each in KEYS])
def test_a_key_is_the_one_that_its_recipe_names(key: Path, tmp_path: Path) -> None:
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    shown = subprocess.run(
        ["gpg", "--batch", "--homedir", home, "--with-colons", "--show-keys", key],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    recipe = (ROOT / f"recipes/{key.parent.name}.toml").read_text()
    named = re.findall(r"^#.*\b([0-9A-F]{40})\b", recipe, re.MULTILINE)
    assert list(primary_fingerprints(shown.stdout)) == named
