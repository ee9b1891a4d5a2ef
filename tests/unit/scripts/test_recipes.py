"""scripts/recipes with a command of our own: what is done for which recipe, and what fails it."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAKE = """\
#!/bin/sh
echo "$@" >> calls
case "$* " in
{answers}
esac
"""
NEAR = ["lock --quiet recipes/near.toml", "plan --offline recipes/near.toml"]
FAR = "recipes/far.toml: checked; not planned here"
DONE = "recipes/near.toml: checked, planned, built\n"
BUILT = "build --quiet --until verify recipes/near.toml"


def run(place: Path, answers: str = "", **environment: str) -> tuple[int, str, list[str]]:
    """Exit code, stdout, and the calls after `check`."""
    (place / "scripts").mkdir(parents=True)
    shutil.copy2(ROOT / "scripts/recipes", place / "scripts")
    (place / "recipes").mkdir()
    (place / "recipes/far.toml").write_text('[[distribution.repositories]]\nmetalink = "https://far.example/"\n')
    (place / "recipes/near.toml").write_text('[[distribution.repositories]]\nrepack = "debian"\n')
    command = place / ".venv/bin/ami-factory"
    command.parent.mkdir(parents=True)
    command.write_text(FAKE.format(answers=answers))
    command.chmod(0o755)
    done = subprocess.run(
        [place / "scripts/recipes"],
        capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment},
    )  # fmt: skip
    first, *calls = (place / "calls").read_text().splitlines()
    assert first == "check recipes/far.toml recipes/near.toml"
    return done.returncode, done.stdout, calls


def test_what_needs_no_mirror_is_built(tmp_path: Path) -> None:
    assert run(tmp_path / "a place") == (
        0,
        f"{FAR}: no mirror is set (AMI_FACTORY_MIRROR_ID, or ALL=1)\n{DONE}",
        [*NEAR, BUILT],
    )


@pytest.mark.parametrize("environment", [{"ALL": "1"}, {"AMI_FACTORY_MIRROR_FAR": "file:///srv/far"}])
def test_what_cannot_be_had_is_said(environment: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, "lock*far*) exit 3;;", **environment) == (
        0,
        f"{FAR}: its packages cannot be had\n{DONE}",
        ["lock --quiet recipes/far.toml", *NEAR, BUILT],
    )


@pytest.mark.parametrize("answers", ["check*) exit 2;;", "lock*near*) exit 2;;", "plan*) exit 2;;", "build*) exit 1;;"])
def test_anything_else_fails(answers: str, tmp_path: Path) -> None:
    assert run(tmp_path, answers)[0] == 1
