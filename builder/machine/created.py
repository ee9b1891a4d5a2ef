"""A guest that was created, under Xen or in a QEMU of its own."""

import threading
from collections.abc import Callable
from pathlib import Path

from builder.machine.guest import End, GuestSpec


class Guest:
    """A guest that was created. It may have ended meanwhile."""

    def __init__(self, spec: GuestSpec, slot: int, console: Path) -> None:
        self.spec = spec
        self.slot = slot
        self.console = console
        """What it wrote to its console so far, growing as it writes."""
        self.started = False
        self.end: End | None = None
        self._over = threading.Event()

    def wait(self, seconds: float | None = None) -> End | None:
        """How it ended; None if it has not after that time."""
        self._over.wait(seconds)
        return self.end

    def finish(self, end: End) -> None:
        """Said by the host, once."""
        if self.end is None:
            self.end = end
            self._over.set()

    def console_text(self) -> str:
        try:
            return self.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""


Ended = Callable[[Guest, End], None]


def nobody(guest: Guest, end: End) -> None:
    """Nobody wants to know."""
