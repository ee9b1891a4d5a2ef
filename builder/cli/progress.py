"""Shows a build as it goes: live lines on a terminal, a line a step otherwise."""

import contextlib
import sys
import time
from typing import Any

from builder.cli.output import colour_wanted, say, seconds, styled, warn
from builder.errors import BuilderError
from builder.plan.step import Step
from builder.store.contract import Object
from builder.store.local import LocalStore


class Quiet:
    """Says nothing but warnings."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, step: Step, reason: str) -> None:
        pass

    def progress(self, step: Step, what: str, done: int, total: int, unit: str) -> None:
        pass

    def note(self, step: Step, text: str) -> None:
        warn(f"{step.label}: {text}")

    def finished(self, step: Step, done: Object, *, ran: bool) -> None:
        pass

    def failed(self, step: Step, error: BuilderError) -> None:
        pass


class Lines(Quiet):
    """A line when a step starts, a line when it ends."""

    def started(self, step: Step, reason: str) -> None:
        say(f"{step.label:<14} run     {step.key[:12]}  {reason}")

    def finished(self, step: Step, done: Object, *, ran: bool) -> None:
        if ran:
            say(f"{step.label:<14} done    {step.key[:12]}  {seconds(done.record.milliseconds)}")
        else:
            say(f"{step.label:<14} reuse   {step.key[:12]}  another build made it meanwhile")

    def failed(self, step: Step, error: BuilderError) -> None:
        say(f"{step.label:<14} failed  {step.key[:12]}")


class Live(Lines):
    """Bars of the running steps below the lines of the finished ones."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "Live":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, step: Step, reason: str) -> None:
        self._tasks[step.key] = self._bars.add_task(f"{step.label:<14}", total=None, told=reason[:60])

    def progress(self, step: Step, what: str, done: int, total: int, unit: str) -> None:
        if step.key not in self._tasks:
            return
        what_before, since = self._began.get(step.key, ("", 0.0))
        if what != what_before:
            since = time.monotonic()
            self._began[step.key] = (what, since)
        told = what
        spent = time.monotonic() - since
        if unit == "bytes" and done and spent > 0.5:
            rate = done / spent
            left = f", {(total - done) / rate:.0f} s left" if total > done else ""
            told = f"{what}: {rate / 2**20:.0f} MiB/s{left}"
        elif unit != "bytes":
            told = f"{what}: {done} of {total} {unit}"
        self._bars.update(self._tasks[step.key], total=total or None, completed=done, told=told)

    def _end(self, step: Step) -> None:
        if step.key in self._tasks:
            self._bars.remove_task(self._tasks.pop(step.key))

    def finished(self, step: Step, done: Object, *, ran: bool) -> None:
        self._end(step)
        super().finished(step, done, ran=ran)

    def failed(self, step: Step, error: BuilderError) -> None:
        self._end(step)
        say(styled(f"{step.label:<14} failed  {step.key[:12]}", "error"))


class Verbose(Lines):
    """Lines, and the log of every step when it ends."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def finished(self, step: Step, done: Object, *, ran: bool) -> None:
        if ran:
            self._show_log(step)
        super().finished(step, done, ran=ran)

    def failed(self, step: Step, error: BuilderError) -> None:
        self._show_log(step)
        super().failed(step, error)

    def _show_log(self, step: Step) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in self._store.log_path(step.key).read_text(errors="replace").splitlines():
                say(f"{step.label:<14} | {line}")


def listener(quiet: bool, verbose: LocalStore | None = None) -> Quiet:
    """The listener that fits where stderr goes; with `verbose` one that shows the logs of that store."""
    if quiet:
        return Quiet()
    if verbose:
        return Verbose(verbose)
    return Live() if sys.stderr.isatty() and colour_wanted() else Lines()
