"""One line on a terminal that tells how far a long piece of work is: rate and time left."""

import os
import sys
import threading
import time
from types import TracebackType

from builder.cli.output import size

_EVERY = 0.1
"""Seconds between two pictures."""


class Meter:
    """Told how many bytes of how many are done; a context manager, whose line is gone at its end.

    It shows nothing where stderr is no terminal, unless it is wanted: then a line every ten percent.
    """

    def __init__(self, what: str, *, wanted: bool | None = None) -> None:
        self._what = what
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and wanted is not False
        self._lines = bool(wanted) and not self._live
        self._began = time.monotonic()
        self._shown = 0.0
        self._tenth = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.clear()

    def __call__(self, done: int, total: int) -> None:
        with self._lock:
            now = time.monotonic()
            if self._live and now - self._shown >= _EVERY:
                self._shown = now
                sys.stderr.write(f"\r\x1b[K{told(self._what, done, total, now - self._began)}")
                sys.stderr.flush()
            elif self._lines and total and done * 10 // total > self._tenth:
                self._tenth = done * 10 // total
                sys.stderr.write(f"{told(self._what, done, total, now - self._began)}\n")

    def clear(self) -> None:
        """Take the line away, so that another can be written in its place."""
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def told(what: str, done: int, total: int, seconds: float) -> str:
    """`bundle   42%  430.0 MiB of 1.0 GiB  512.0 MiB/s  1 s left`."""
    share = f"{100 * done // total:>3}%" if total else "    "
    text = f"{what}  {share}  {size(done)} of {size(total)}"
    if seconds < 0.5 or not done:
        return text
    rate = done / seconds
    text += f"  {size(int(rate))}/s"
    return text + (f"  {_time((total - done) / rate)} left" if total > done else "")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
