"""How the command behaves among others: pipes, locales, odd names, colours, signals."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder.errors import Exit
from builder.plan.step import Plan
from tests.support.desk import COMMAND, Desk
from tests.support.plans import ROOT


def test_a_reader_that_goes_away_is_no_error(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    done = subprocess.run(
        ["bash", "-c", '"$@" recipe schema | head -c 1; echo " ${PIPESTATUS[0]}"', "bash", *COMMAND],
        cwd=desk.path,
        env=desk.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("{ 0\n", "")


@pytest.mark.parametrize(
    "locale",
    [
        pytest.param({"LC_ALL": "C"}, id="C"),
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="ASCII"),
        pytest.param({"LC_ALL": "C.UTF-8"}, id="UTF-8"),
    ],
)
def test_names_of_any_kind_in_any_locale(locale: dict[str, str], full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    for words in (["check", "größe und maß/nothere.toml"], ["plan", "größe und maß/nothere.toml", "--json"]):
        done = desk.run(*words, **locale)
        assert (done.code, "nothere.toml" in done.stderr) == (2, True), done.stderr
        assert "bug of ours" not in done.stderr
    assert done.document["brief"].endswith("nothere.toml:1:1: cannot be read: No such file or directory")


def test_a_name_that_is_no_text(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    done = subprocess.run(
        [*COMMAND, "plan", b"\xff.toml", "--json"],
        cwd=desk.path,
        env=desk.environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"bug of ours" not in done.stderr


def test_paths_with_spaces_and_other_letters(tmp_path: Path) -> None:
    place = tmp_path / "größe und maß"
    place.mkdir()
    desk = Desk(path=place)
    desk.set_up()
    assert desk.run("check", "web.toml").code == 0
    done = desk.run("plan", str(place / "web.toml"), "--offline", "--json")
    assert done.document["recipes"][0]["recipe"] == str(place / "web.toml")
    desk.fill(desk.plan())
    done = desk.run("build", "web.toml", "--until", "image", "--instance-type", "m1.small")
    assert Path(done.stdout.removesuffix("\n"), "object.json").is_file()


def test_a_store_named_from_here(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    done = desk.run("store", "list", "--store", "cache/ami-factory/store", "--json")
    assert done.document["store"] == str(desk.store.root)
    assert desk.run("store", "list", AMI_FACTORY_STORE=str(desk.store.root)).stdout.count("\n") == 16


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_store_of_somebody_else(tmp_path: Path) -> None:
    desk = Desk(path=tmp_path)
    desk.set_up()
    desk.store.prepare()
    desk.store.root.chmod(0)
    done = desk.run("store", "list")
    desk.store.root.chmod(0o700)
    assert (done.code, "cannot be read" in done.stderr) == (3, True)


def on_a_terminal(desk: Desk, *words: str, **more: str) -> str:
    """What the command writes when both streams are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *words],
        cwd=desk.path,
        env={**desk.environment, "TERM": "xterm-256color", **more},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        read = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # EIO: the last writer is gone
                break
            if not block:
                break
            read += block
        process.wait(timeout=60)
    os.close(ours)
    return read.decode()


def test_colour_is_for_terminals_and_can_be_refused(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    assert "\x1b[" in on_a_terminal(desk, "plan", "nothere.toml")
    assert "\x1b" not in on_a_terminal(desk, "plan", "nothere.toml", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(desk, "plan", "nothere.toml", TERM="dumb")
    assert "\x1b" not in desk.run("plan", "nothere.toml", FORCE_COLOR="1").stderr


def test_completion(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    asked = {"_AMI_FACTORY_COMPLETE": "complete_bash", "COMP_WORDS": "ami-factory st", "COMP_CWORD": "1"}
    assert desk.run(**asked).stdout == "store\n"
    asked |= {"COMP_WORDS": "ami-factory build --un", "COMP_CWORD": "2"}
    assert desk.run(**asked).stdout == "--until\n"


def test_a_starter_is_a_good_recipe(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    assert desk.run("recipe", "new", "mine.toml").stdout == "mine.toml\n"
    assert desk.run("check", "mine.toml").code == 0
    assert desk.run("recipe", "schema").document["title"]


@pytest.mark.host
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(stop: signal.Signals, tmp_path: Path) -> None:
    """A build that waits for another one's step: it ends within two seconds, and says that nothing is lost."""
    desk = Desk(path=tmp_path)
    desk.set_up()
    desk.run("plan", "web.toml", "--offline")
    plan = desk.plan()
    desk.store.prepare()
    with desk.store.lease(plan.steps[0].key, 60):
        with desk.start("build", "web.toml", "--until", "packages") as process:
            time.sleep(2)
            assert process.poll() is None
            began = time.monotonic()
            process.send_signal(stop)
            _, stderr = process.communicate(timeout=30)
        assert time.monotonic() - began < 2
    assert (process.returncode, "interrupted" in stderr) == (Exit.INTERRUPTED, True), stderr
    assert not desk.store.has(plan.steps[0].key)


def test_the_entry_point_is_installed() -> None:
    script = Path(sys.executable).with_name("ami-factory")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("ami-factory ")
