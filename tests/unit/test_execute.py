"""The executor: order, parallelism, failure, one builder for a key; with real worker processes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.errors import BuilderError, Exit
from builder.execute import Interrupted, LocalExecutor, Place
from builder.plan.decide import Action, Do
from builder.plan.step import Chain, Plan, Step, Variant, merge, step
from builder.stages import registry
from builder.stages.registry import Stage
from builder.store.contract import Object
from builder.store.local import Busy, LocalStore
from tests.support.stages.play_stage.run import PlaySpec

ROOT = Path(__file__).parents[2]
VARIANT = Variant(
    recipe="r",
    architecture="x86_64",
    virtualization="pv",
    instance_type="m1.small",
    kernel="k",
    region="local",
    account="123456789012",
)


class Heard:
    """Remembers every event as (what, label, more)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def started(self, step: Step, reason: str) -> None:
        self.events.append(("started", step.label, reason))

    def progress(self, step: Step, what: str, done: int, total: int, unit: str) -> None:
        self.events.append(("progress", step.label, f"{what} {done}/{total} {unit}"))

    def note(self, step: Step, text: str) -> None:
        self.events.append(("note", step.label, text))

    def finished(self, step: Step, done: Object, *, ran: bool) -> None:
        self.events.append(("finished" if ran else "reused", step.label))

    def failed(self, step: Step, error: BuilderError) -> None:
        self.events.append(("failed", step.label, error.brief))

    def order(self, what: str) -> list[str]:
        return [event[1] for event in self.events if event[0] == what]


@pytest.fixture(autouse=True)
def _stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, remote in (("play", False), ("far", True)):
        monkeypatch.setitem(
            registry.STAGES,
            name,
            Stage(name=name, module="tests.support.stages.play_stage", namespace=False, remote=remote),
        )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def executor(store: LocalStore, jobs: int = 4) -> LocalExecutor:
    place = Place(state=store.root / "state", cache=store.root / "cache")
    return LocalExecutor(store, place, jobs=jobs)


def play(label: str, act: str = "write", *needs: Step, after: tuple[Step, ...] = (), journal: str = "") -> Step:
    text = label if act != "sleep" else "60"
    spec = PlaySpec(act=act, text=text, journal=journal)
    return step("play", spec, label=label, inputs=((each.label, each) for each in needs), after=after)


def plan_of(*steps: Step) -> Plan:
    return merge((Chain(variant=VARIANT, steps=steps),))


def run_all(plan: Plan) -> tuple[Action, ...]:
    return tuple(Action(step=each, do=Do.RUN, reason="first build") for each in plan.steps)


def build(store: LocalStore, *steps: Step, jobs: int = 4) -> tuple[dict[str, Object], Heard]:
    heard = Heard()
    plan = plan_of(*steps)
    with executor(store, jobs) as runs:
        done = runs.execute(plan, run_all(plan), heard)
    return done, heard


def leftovers(store: LocalStore) -> list[str]:
    return [path.name for path in (store.root / "work").iterdir()]


def test_steps_run_after_what_they_are_made_from_and_after_their_gates(store: LocalStore) -> None:
    first = play("first")
    second = play("second", "write", first)
    gate = play("gate", "write", first)
    last = play("last", "write", second, after=(gate,))
    done, heard = build(store, first, second, gate, last)
    assert (done[last.key].path / "text").read_text() == "firstsecondlast"
    assert heard.order("finished").index("gate") < heard.order("started").index("last")
    assert set(done) == {first.key, second.key, gate.key, last.key}
    assert store.get(last.key).record.inputs == {"second": second.key}
    assert leftovers(store) == []


def test_independent_steps_run_side_by_side(store: LocalStore) -> None:
    _, heard = build(store, play("a"), play("b"), jobs=2)
    assert [event[0] for event in heard.events] == ["started", "started", "finished", "finished"]


def test_what_a_step_says_is_heard_and_its_programs_write_to_its_log(store: LocalStore) -> None:
    talker = play("talker", "say")
    _, heard = build(store, talker)
    assert heard.events == [
        ("started", "talker", "first build"),
        ("progress", "talker", "counting 1/2 things"),
        ("note", "talker", "look here"),
        ("finished", "talker"),
    ]
    log = store.log_path(talker.key).read_text()
    for line in ("a stray line on stdout", "from a program", "from its stderr"):
        assert line in log


def test_a_failure_stops_what_is_behind_it_and_nothing_else(store: LocalStore) -> None:
    bad = play("bad", "refuse")
    behind = play("behind", "write", bad)
    other = play("other")
    heard = Heard()
    plan = plan_of(bad, behind, other)
    with pytest.raises(BuilderError) as caught, executor(store) as runs:
        runs.execute(plan, run_all(plan), heard)
    error = caught.value
    assert (error.brief, error.hint, error.exit) == ("bad: the hose is dry", "fill it", Exit.HOST)
    assert error.detail.startswith("two lines\nof detail\nlog: ")
    assert heard.order("finished") == ["other"]
    assert sorted(heard.order("started")) == ["bad", "other"]  # side by side: either may be heard first
    assert not store.has(bad.key)
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("act", "brief", "code"),
    [
        pytest.param("bug", "x: unexpected RuntimeError: this was not foreseen", Exit.BUILD, id="a bug of ours"),
        pytest.param("die", "x: its process ended early, with exit code -9", Exit.BUILD, id="a killed worker"),
        pytest.param("full", "No space left on device", Exit.HOST, id="a full disk"),
    ],
)
def test_however_a_step_ends_it_is_one_error(store: LocalStore, act: str, brief: str, code: Exit) -> None:
    bad = play("x", act)
    with pytest.raises(BuilderError) as caught:
        build(store, bad)
    assert brief in caught.value.brief
    assert caught.value.exit is code
    assert "Traceback" not in caught.value.brief
    assert str(store.log_path(bad.key)) in caught.value.detail
    assert leftovers(store) == []


def test_equal_steps_of_two_builders_run_once(store: LocalStore, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    slow = step("play", PlaySpec(act="write", text="x", journal=str(journal)), label="slow")
    heard = [Heard(), Heard()]
    plan = plan_of(slow)

    def one(number: int) -> None:
        with executor(store) as runs:
            runs.execute(plan, run_all(plan), heard[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert journal.read_text().splitlines() == [slow.key]
    assert sorted(event[0] for each in heard for event in each.events) == ["finished", "reused", "started"]


def test_a_remote_step_runs_again_although_its_receipt_is_there(store: LocalStore, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    far = step("far", PlaySpec(text="x", journal=str(journal)), label="far")
    build(store, far)
    build(store, far)
    assert journal.read_text().splitlines() == [far.key, far.key]


def test_what_a_running_build_reads_cannot_be_removed(store: LocalStore) -> None:
    with executor(store), pytest.raises(Busy), store.alone():
        pass
    with store.alone():
        pass


def test_an_object_that_went_since_the_plan_was_made_is_told(store: LocalStore) -> None:
    base = play("base")
    plan = plan_of(base, play("next", "write", base))
    actions = (Action(step=plan.steps[0], do=Do.REUSE, reason="stored"), run_all(plan)[1])
    with pytest.raises(BuilderError, match="base: its object was removed") as caught, executor(store) as runs:
        runs.execute(plan, actions, Heard())
    assert caught.value.hint == "run the same command again"


BUILDER = """
import sys
from pathlib import Path
from tests.unit.test_execute import *
private = sys.argv[3] == "namespace"
registry.STAGES["play"] = Stage(name="play", module="tests.support.stages.play_stage", namespace=private)
store = LocalStore(Path(sys.argv[1]))
build(store, play("x", sys.argv[2]))
"""


def start_builder(store: LocalStore, act: str, where: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", BUILDER, store.root, act, where],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def processes_with(text: str) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Every process that a process started, and those that these started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():  # the executor starts workers in threads
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.host
def test_sigkill_leaves_no_process_and_the_next_build_no_files(store: LocalStore) -> None:
    store.prepare()
    builder = start_builder(store, "spread", "namespace")
    wait_for(lambda: list((store.root / "work").glob("*/scratch/ready")))
    started = descendants(builder.pid)
    assert len(started) > 2
    builder.kill()
    builder.wait()
    wait_for(lambda: not processes_with("4242"))
    wait_for(lambda: not any(Path(f"/proc/{each}").exists() for each in started))
    store.prepare()
    assert leftovers(store) == []


@pytest.mark.host
@pytest.mark.parametrize("where", ["namespace", "plain"])
def test_ctrl_c_ends_a_build_within_two_seconds(store: LocalStore, where: str) -> None:
    store.prepare()
    builder = start_builder(store, "sleep", where)
    wait_for(lambda: [p for p in (store.root / "logs").glob("*.log") if "sleep" in p.read_text()])
    began = time.monotonic()
    builder.send_signal(2)
    builder.wait(10)
    assert time.monotonic() - began < 2
    assert leftovers(store) == []


def test_a_builder_that_waits_for_another_gives_up_when_told(store: LocalStore) -> None:
    slow = play("x", "sleep")
    plan = plan_of(slow)
    store.prepare()
    with store.lease(slow.key, 1):
        waiting = executor(store)
        caught: list[BaseException] = []

        def build_it() -> None:
            try:
                with waiting:
                    waiting.execute(plan, run_all(plan), Heard())
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=build_it)
        thread.start()
        time.sleep(0.3)
        waiting.stop()
        thread.join(5)
        assert not thread.is_alive()
    assert [type(each) for each in caught] == [Interrupted]
