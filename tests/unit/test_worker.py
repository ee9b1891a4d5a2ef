"""The worker: one job in, events out, and an end with whoever wants the result."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from builder.errors import BuilderError
from builder.host.workers import Worker
from builder.worker import Job, from_plain
from tests.support.tiny import alive, descendants, wait_for

ROOT = Path(__file__).parents[2]
WORKER = (sys.executable, "-m", "builder.worker")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def job(place: Path, **spec: Any) -> bytes:
    for name in ("output", "scratch"):
        (place / name).mkdir(exist_ok=True)
    given = Job(
        module="tests.support.stages.play_stage.run",
        key="k" * 64,
        spec=spec,
        inputs=(),
        output=str(place / "output"),
        scratch=str(place / "scratch"),
        surroundings={"state": str(place), "cache": str(place), "trees": str(place)},
    )
    return json.dumps(asdict(given)).encode()


def events(place: Path, line: bytes) -> list[dict[str, Any]]:
    """All that a worker says to one line."""
    with Worker(WORKER, namespace=False, log=place / "log") as worker:
        worker.tell(line)
        return [json.loads(each) for each in worker.lines()]


def test_a_result(tmp_path: Path) -> None:
    assert events(tmp_path, job(tmp_path, text="x")) == [{"result": {"text": "x"}}]
    assert (tmp_path / "output/text").read_text() == "x"


def test_an_error_is_told_and_logged(tmp_path: Path) -> None:
    said = events(tmp_path, job(tmp_path, act="refuse"))
    assert said == [
        {"error": {"brief": "the hose is dry", "detail": "two lines\nof detail", "hint": "fill it", "exit": 3}}
    ]
    assert "error: the hose is dry\n" in (tmp_path / "log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("act", ["refuse", "bug", "full", "say"])
def test_a_log_on_a_full_disk_hides_nothing(tmp_path: Path, act: str) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    last = events(tmp_path, job(tmp_path, act=act))[-1]
    assert [*last] == [{"bug": "bug", "say": "error"}.get(act, "error")]
    if act != "bug":
        assert last["error"]["exit"] == 3


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"module": "x"}'], ids=repr)
def test_a_broken_job_is_a_bug(tmp_path: Path, line: bytes) -> None:
    assert [[*each] for each in events(tmp_path, line)] == [["bug"]]


@pytest.mark.parametrize("namespace", [False, pytest.param(True, marks=pytest.mark.host)])
def test_it_ends_with_its_input(tmp_path: Path, namespace: bool) -> None:
    """Whoever started it may die in any way, in any thread: the pipe is closed by the kernel."""
    place = "namespace" if namespace else "plain"
    text = (
        "import sys, os, signal; from pathlib import Path; from builder.host.workers import Worker\n"
        f"worker = Worker({WORKER!r}, namespace={namespace}, log=Path({str(tmp_path / place)!r}))\n"
        f"worker.tell({job(tmp_path, act='sleep')!r})\n"
        "list(worker.lines())\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", text])
    wait_for(lambda: (tmp_path / place).exists() and "sleep" in (tmp_path / place).read_text())
    started = descendants(starter.pid)
    assert len(started) >= 2
    starter.kill()
    starter.wait()
    wait_for(lambda: not alive(started), 5)


def test_a_killed_worker_leaves_no_child(tmp_path: Path) -> None:
    with Worker(WORKER, namespace=False, log=tmp_path / "log") as worker:
        worker.tell(job(tmp_path, act="sleep"))
        # Its log names a command before the command is there.
        wait_for(lambda: any(map(_sleeps, descendants(os.getpid()))))
        started = [each for each in descendants(os.getpid()) if _sleeps(each)]
        worker.kill()
        began = time.monotonic()
    assert time.monotonic() - began < 1
    wait_for(lambda: not alive(started), 5)


def _sleeps(pid: int) -> bool:
    try:
        return b"sleep\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return False


def test_a_worker_that_cannot_be_started_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(BuilderError) as caught:
        Worker(["bwrap-that-is-not-there"], namespace=False, log=tmp_path / "log")
    assert (caught.value.brief, caught.value.exit) == ("bwrap-that-is-not-there is not installed", 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    VERSION: ClassVar[int] = 1
    pairs: tuple[tuple[str, int], ...]
    name: str | None = None


def test_specs_come_back_from_plain_data() -> None:
    assert from_plain(Spec, {"pairs": [["a", 1]]}) == Spec(pairs=(("a", 1),))
    for bad in ({}, {"pairs": [["a"]]}, {"pairs": [], "name": 3}, []):
        with pytest.raises(ValidationError):
            from_plain(Spec, bad)
