"""Runs the steps of a plan: a process for each, in parallel within the machine's means, each equal step once."""

import json
import os
import queue
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from builder.errors import NO_SPACE, SPACE_HINT, BuilderError, Exit, of_the_disk
from builder.host.namespace import require_namespace
from builder.host.workers import Worker
from builder.plan.decide import Action, Do
from builder.plan.step import Plan, Step
from builder.stages.registry import STAGES
from builder.store.contract import Object, Record
from builder.store.local import Busy, LocalStore
from builder.worker import Job

LEASE_SECONDS = 60.0
LOG_TAIL_LINES = 15
LONGEST_LINE = 200
LEAST_SPACE = 64 * 1024
"""Bytes. With less free than this, whatever went wrong went wrong for want of space."""
# What programs say on a full disk: all but SQLite (rpm's database), rpm and apt say it in strerror's words.
_FULL = re.compile(
    f"{NO_SPACE}|database or disk is full|needs [0-9]+[KMG]?B more space on|don't have enough free space"
)


class Listener(Protocol):
    """Hears what happens, in the order it happens; called from one thread."""

    def started(self, step: Step, reason: str) -> None: ...
    def progress(self, step: Step, what: str, done: int, total: int, unit: str) -> None: ...
    def note(self, step: Step, text: str) -> None: ...
    def finished(self, step: Step, done: Object, *, ran: bool) -> None: ...
    def failed(self, step: Step, error: BuilderError) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things are on this machine, for every step of a build."""

    state: Path
    cache: Path
    endpoint_url: str | None = None
    profile: str | None = None
    mirrors: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    """For every step, whatever the recipe says."""

    def surroundings(
        self, trees: Path, sources: Iterable[tuple[str, str]], limits: Iterable[tuple[str, int]] = ()
    ) -> dict[str, Any]:
        """stages.contract.Surroundings as plain data, as a job carries it."""
        return {
            "state": str(self.state),
            "cache": str(self.cache),
            "trees": str(trees),
            "endpoint_url": self.endpoint_url,
            "profile": self.profile,
            "sources": dict(sources),
            "mirrors": dict(self.mirrors),
            "secrets": dict(self.secrets),
            "limits": {**dict(limits), **self.limits},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the steps that were to run ended, by key."""

    done: Mapping[str, Object]
    failed: Mapping[str, BuilderError]
    """Those that failed, and those behind them, which were left out: with the error of the first of them."""

    def whole(self) -> dict[str, Object]:
        """The finished objects; raises the first failure, if there is one."""
        if self.failed:
            raise next(iter(self.failed.values()))
        return dict(self.done)


class StepFailed(BuilderError):
    """A step failed; carries the step's own error, the tail of its log and where to look."""


class Interrupted(BuilderError):
    exit = Exit.INTERRUPTED


class LocalExecutor:
    """Runs steps on this machine. Use as a context manager: leaving it kills what is still running."""

    def __init__(
        self, store: LocalStore, place: Place, *, jobs: int = 0, places: Mapping[str, Place] | None = None
    ) -> None:
        """`places`: for the steps of some variants, by the variant's name, another one."""
        self.store = store
        self.place = place
        self.places = places or {}
        self.jobs = jobs or os.cpu_count() or 1
        self._running: set[Worker] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._before: dict[str, object] = {}
        self._using = ExitStack()

    def __enter__(self) -> "LocalExecutor":
        self.store.prepare()
        self._using.enter_context(self.store.in_use())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._using.close()

    def stop(self) -> None:
        """Kill every running step, with all that it started."""
        with self._lock:
            self._stopped = True
            for each in self._running:
                each.kill()

    def execute(self, plan: Plan, actions: Iterable[Action], listener: Listener) -> dict[str, Object]:
        """As `run`: the finished objects by key. The first failure is raised at the end."""
        return self.run(plan, actions, listener).whole()

    def run(self, plan: Plan, actions: Iterable[Action], listener: Listener) -> Outcome:
        """Run every action that says RUN, as soon as what it needs is finished. When a step fails, those behind it are
        left out, and the others go on."""
        actions = tuple(actions)
        for each in actions:
            if each.do is Do.REUSE and not each.step.remote and not self.store.has(each.step.key):
                raise BuilderError(
                    f"{each.step.label}: its object was removed from the store while the build was planned",
                    hint="run the same command again",
                )
        self._before = {each.step.key: self.store.stamp(each.step.key) for each in actions}
        to_run = {each.step.key: each for each in actions if each.do is Do.RUN}
        done: dict[str, Object] = {}
        failed: dict[str, BuilderError] = {}
        events: queue.Queue[Callable[[], None]] = queue.Queue()
        # By stage, not by variant: the long gates of all variants then start early and share the cores, where the last
        # variant's would run alone at the end.
        order = list(STAGES)
        waiting = dict(sorted(to_run.items(), key=lambda item: order.index(item[1].step.stage)))
        active = 0
        with ThreadPoolExecutor(max_workers=self.jobs) as pool:
            try:
                while waiting or active:
                    for key, action in list(waiting.items()):
                        needed = [each.key for each in plan.needs(action.step) if each.key in to_run]
                        if any(each in failed for each in needed):
                            failed[key] = failed[next(each for each in needed if each in failed)]
                            del waiting[key]
                        elif active < self.jobs and all(each in done for each in needed):
                            del waiting[key]
                            active += 1
                            pool.submit(self._one, action, events, listener)
                    if not active:
                        continue
                    finished = _next(events)()
                    if finished is not None:
                        active -= 1
                        key, outcome = finished
                        if isinstance(outcome, BuilderError):
                            failed[key] = outcome
                        else:
                            done[key] = outcome
            except BaseException:
                self.stop()
                raise
        return Outcome(done=done, failed=failed)

    def make(self, steps: Iterable[Step], listener: Listener) -> None:
        """Run those of a few independent steps whose objects are not in the store."""
        for each in steps:
            if not self.store.has(each.key):
                action = Action(step=each, do=Do.RUN, reason="the lock needs it")
                plan = Plan(variants=(), steps=(each,), goals=(), by_key={each.key: each})
                self.execute(plan, (action,), listener)

    def ask(self, module: str, step: Step, listener: Listener) -> dict[str, Any]:
        """Run a function that only answers: like a step, in its own process, but its output is not kept."""
        with self.store.workspace(step.key) as room:
            return self.run_function(
                module, step=step, output=room.output, scratch=room.scratch, say=lambda call: call(listener)
            )

    def _one(self, action: Action, events: "queue.Queue[Any]", listener: Listener) -> None:
        """In a thread of the pool: run one step and say how it ended."""
        step = action.step
        try:
            outcome: Object | BuilderError = self._run(action, events, listener)
        except BuilderError as error:
            outcome = error
        except Busy:
            outcome = Interrupted("interrupted")
        except OSError as error:
            outcome = of_the_disk(error) or _bug(step, error)
        except Exception as error:
            outcome = _bug(step, error)
        if isinstance(outcome, BuilderError):
            failure = outcome
            events.put(lambda: listener.failed(step, failure))
        events.put(lambda: (step.key, outcome))

    def _run(self, action: Action, events: "queue.Queue[Any]", listener: Listener) -> Object:
        step = action.step
        again = step.remote or action.anew
        with self.store.lease(step.key, LEASE_SECONDS, stopped=lambda: self._stopped):
            # What another build has made since this one was planned is as good as our own.
            if self.store.has(step.key) and not (again and self.store.stamp(step.key) == self._before.get(step.key)):
                other = self.store.get(step.key)
                events.put(lambda: listener.finished(step, other, ran=False))
                return other
            events.put(lambda: listener.started(step, action.reason))
            began = time.monotonic()
            with self.store.workspace(step.key) as room:
                result = self.run_function(
                    f"{STAGES[step.stage].module}.run",
                    step=step,
                    output=room.output,
                    scratch=room.scratch,
                    say=lambda call: events.put(lambda: call(listener)),
                )
                record = Record(
                    key=step.key,
                    stage=step.stage,
                    version=step.version,
                    spec=dict(step.spec),
                    inputs=dict(step.inputs),
                    result=result,
                    created=self.store.now(),
                    milliseconds=round((time.monotonic() - began) * 1000),
                )
                stored = self.store.put(record, room.output, replace=again)
            events.put(lambda: listener.finished(step, stored, ran=True))
            return stored

    def _place(self, step: Step) -> Place:
        """Any of its variants will do: what differs between their places is told by the step's key as well."""
        return next((self.places[name] for name in step.variants if name in self.places), self.place)

    def run_function(
        self,
        module: str,
        *,
        step: Step,
        output: Path,
        scratch: Path,
        say: Callable[[Callable[[Listener], None]], None],
    ) -> dict[str, Any]:
        """Run `module.run` for a step in a worker of its own; its result, or StepFailed."""
        log = self.store.log_path(step.key)
        log.write_bytes(b"")
        objects = [(name, self.store.get(key)) for name, key in step.inputs]
        job = Job(
            module=module,
            key=step.key,
            spec=dict(step.spec),
            inputs=tuple((name, str(each.path), each.record.result) for name, each in objects),
            output=str(output),
            scratch=str(scratch),
            surroundings=self._place(step).surroundings(self.store.trees, step.sources, step.limits),
        )
        told = json.dumps(asdict(job))
        self.store.job_path(step.key).write_text(told)  # what `ami-factory shell` looks into
        with self._lock:
            if self._stopped:
                raise Interrupted("interrupted")
            worker = Worker([sys.executable, "-m", "builder.worker"], namespace=STAGES[step.stage].namespace, log=log)
            self._running.add(worker)
        with worker:
            try:
                worker.tell(told.encode())
                return self._listen(worker, step, log, say)
            finally:
                with self._lock:
                    self._running.discard(worker)

    def _listen(
        self, worker: Worker, step: Step, log: Path, say: Callable[[Callable[[Listener], None]], None]
    ) -> dict[str, Any]:
        looks = any((self.store.object_path(key) / "layer.tar").exists() for _, key in step.inputs)
        for line in worker.lines():
            event = json.loads(line)
            if "progress" in event:
                what, done, total, unit = event["progress"]
                say(lambda hears, w=what, d=done, t=total, u=unit: hears.progress(step, w, d, t, u))  # type: ignore[misc]
            elif "note" in event:
                say(lambda hears, text=event["note"]: hears.note(step, text))  # type: ignore[misc]
            elif "result" in event:
                return dict(event["result"])
            elif "error" in event:
                error = event["error"]
                raise _failure(
                    step, log, error["brief"], error["detail"], error["hint"], Exit(error["exit"]), looks=looks
                )
            elif "bug" in event:
                hint = "this is a bug of ours; the log has the traceback"
                raise _failure(step, log, f"unexpected {event['bug']}", "", hint, Exit.BUILD, looks=looks)
        if self._stopped:
            raise Interrupted("interrupted")
        if worker.namespace:
            require_namespace()  # it may be that it never came to life
        hint = "somebody or something killed it; for want of memory the kernel does (see dmesg)"
        raise _failure(
            step,
            log,
            f"its process ended early, with exit code {worker.exit_code()}",
            "",
            hint,
            Exit.BUILD,
            looks=looks,
        )


def _next(events: "queue.Queue[Any]") -> Any:
    """The next event; wakes up often enough for Ctrl-C to be heard."""
    while True:
        try:
            return events.get(timeout=0.5)
        except queue.Empty:
            continue


def _bug(step: Step, error: Exception) -> BuilderError:
    return BuilderError(f"{step.label}: {type(error).__name__}: {error}", hint="this is a bug of ours")


def _is_full(place: Path) -> bool:
    found = shutil.disk_usage(place)
    return found.total > 0 and found.free < LEAST_SPACE  # a file system in memory may know neither


def shorten(line: str) -> str:
    """A line of a log as it is shown: command lines can be very long."""
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 2]} …"


def _failure(step: Step, log: Path, brief: str, detail: str, hint: str, code: Exit, *, looks: bool) -> StepFailed:
    """What the user sees: the reason, the tail of the log, the log's path, and how to look inside.

    `looks`: there is a tree to look into. A program that failed because the disk is full is this machine's failure,
    not the step's.
    """
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if lines and lines[-1] == f"error: {brief}":
        lines.pop()
    tail = "\n".join(shorten(line) for line in lines[-LOG_TAIL_LINES:])
    full = code in (Exit.BUILD, Exit.HOST) and _FULL.search(f"{tail}\n{detail}")
    if (full or (code is Exit.BUILD and _is_full(log.parent))) and NO_SPACE not in brief:
        detail = "\n".join(part for part in (brief, detail or tail) if part)
        brief, hint, code = NO_SPACE.lower(), SPACE_HINT, Exit.HOST
    told = [detail] if detail else [tail] if tail else []
    told.append(f"log: {log}")
    if looks:
        told.append(f"look inside: ami-factory shell {step.key[:12]}")
    return StepFailed(f"{step.label}: {brief}", detail="\n".join(told), hint=hint, exit=code)
