"""scripts/setup with what it would install from faked: a checkout in a path with a space, and an apt-get of our own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COPIED = ("scripts/setup", "builder/host/packages.conf", "requirements.lock", "pyproject.toml")

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user's setup goes through sudo")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that setup has been through: its environment is stamped, and the one package of its list is there."""
    place = tmp_path / "a place"
    for name in COPIED:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    (place / "builder/host/packages.conf").write_text("# a comment\n\ncoreutils  ls  lists\n")
    command = place / ".venv/bin/ami-factory"
    command.parent.mkdir(parents=True)
    command.touch(mode=0o755)
    made_from = b"".join(
        (place / name).read_bytes() for name in ("requirements.lock", "pyproject.toml", "scripts/setup")
    )
    place_and_python = f"{place} {os.path.realpath('/usr/bin/python3')}\n".encode()
    for level in ("run", "develop"):
        (place / f".venv/.setup-{level}").write_bytes(place_and_python + made_from)
    return place


def setup(checkout: Path, *arguments: str, apt_get: str = "exit 99") -> subprocess.CompletedProcess[str]:
    """Run it, with an apt-get that notes how it was called in `calls` and then does as it is told."""
    commands = checkout.parent / "commands"
    commands.mkdir(exist_ok=True)
    fake = commands / "apt-get"
    fake.write_text(f'#!/bin/sh\necho "$*" >>"{checkout.parent}/calls"\n{apt_get}\n')
    fake.chmod(0o755)
    return subprocess.run(
        [checkout / "scripts/setup", *arguments],
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def calls(checkout: Path) -> list[str]:
    noted = checkout.parent / "calls"
    return noted.read_text().splitlines() if noted.exists() else []


@pytest.mark.parametrize("level", [(), ("develop",)])
def test_nothing_to_do_is_nothing_done(checkout: Path, level: tuple[str, ...]) -> None:
    done = setup(checkout, *level)
    assert (done.returncode, done.stdout, done.stderr, calls(checkout)) == (0, "", "", [])


def test_what_is_missing_is_installed_and_said_on_stderr(checkout: Path) -> None:
    with (checkout / "builder/host/packages.conf").open("a") as file:
        file.write("strange  strange-tool  nothing\nlocal  /nowhere/at/all-*  nothing\n")
    made = checkout.parent / "commands/strange-tool"
    done = setup(checkout, apt_get=f'touch "{made}"; chmod +x "{made}"')
    assert (done.returncode, done.stdout) == (3, "")  # the second one is still not there
    assert "setup: install strange local\n" in done.stderr
    assert "error: after installing them still not there: local\n" in done.stderr
    assert calls(checkout) == [
        "update",
        "install --yes --no-install-recommends --option DPkg::Lock::Timeout=300 strange local",
    ]


def test_an_update_that_fails_does_not_stop_an_install_that_works(checkout: Path) -> None:
    with (checkout / "builder/host/packages.conf").open("a") as file:
        file.write("strange  strange-tool  nothing\n")
    made = checkout.parent / "commands/strange-tool"
    done = setup(checkout, apt_get=f'[ "$1" = install ] || exit 100; touch "{made}"; chmod +x "{made}"')
    assert (done.returncode, len(calls(checkout))) == (0, 2)


def test_a_step_that_fails_shows_the_end_of_its_log(checkout: Path) -> None:
    with (checkout / "builder/host/packages.conf").open("a") as file:
        file.write("strange  strange-tool  nothing\n")
    done = setup(checkout, apt_get="echo E: no such package; exit 100")
    assert done.returncode == 3
    assert "E: no such package\n" in done.stderr
    assert f"hint: the whole log is in {checkout}/.cache/setup.log" in done.stderr


def test_an_unknown_argument(checkout: Path) -> None:
    done = setup(checkout, "everything")
    assert (done.returncode, done.stderr) == (2, "usage: scripts/setup [develop]\n")
