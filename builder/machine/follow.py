"""A guest is watched until it is up, or is known not to come up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.errors import BuilderError
from builder.machine import causes, phases
from builder.machine.causes import Cause
from builder.machine.guest import End

Explain = Callable[[str], Cause | None]
"""The cause that a console tells, if it tells one."""
GRACE_SECONDS = 3.0  # the rest of what a console has to say


class Running(Protocol):
    """A guest, under Xen or not."""

    end: End | None

    def console_text(self) -> str: ...
    def wait(self, seconds: float | None = None) -> End | None: ...


class NotBooted(BuilderError):
    """A guest that did not come up."""

    def __init__(self, why: str, cause: Cause | None) -> None:
        super().__init__(why)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds."""

    silence: float = 240.0
    """Nothing is heard: emulated, on a busy machine; systemd's own patience with a device is 90."""
    whole: float = 1200.0
    knock: float = 10.0
    """A console that is silent for so long may have nothing more to say."""
    look: float = 0.2


def follow(
    guest: Running,
    *,
    steps: Sequence[str],
    reached: Callable[[str], object],
    knock: Callable[[], bool],
    explain: Explain,
    skip: int = 0,
    patience: Patience = Patience(),
) -> None:
    """Watch the console through `steps`, the last of which is `up`.

    NotBooted when the guest ends, says why it cannot, or falls silent.

    `reached` is told each step. `knock` asks whether it lets somebody in by now: a console may not tell. `skip`: so
    much of the console is of an earlier boot.
    """
    waiting = list(steps)
    length, began = -1, time.monotonic()
    heard = knocked = began
    while True:
        text, now = guest.console_text()[skip:], time.monotonic()
        if len(text) != length:
            length, heard = len(text), now
            while any(phases.reached(each, text) for each in waiting):  # a quiet console may leave some out
                reached(waiting.pop(0))
            if not waiting:
                return
            if (cause := causes.cause_of(text)) is not None and cause.fatal:
                guest.wait(GRACE_SECONDS)
                raise _not_booted(explain, guest.console_text()[skip:], cause.brief)
        elif guest.end is not None:
            raise ended(guest, waiting[0], explain, skip=skip)
        elif now - heard > patience.silence or now - began > patience.whole:
            raise _not_booted(explain, text, f"the guest never got as far as {phases.NAMES[waiting[0]]}")
        elif not {"grub", "kernel"} & {*waiting} and now - max(heard, knocked) > patience.knock:
            knocked = now
            if knock():
                for each in waiting:
                    reached(each)
                return
        time.sleep(patience.look)


def ended(guest: Running, phase: str, explain: Explain, *, skip: int = 0) -> NotBooted:
    """What to say of a guest that has ended before a phase."""
    assert guest.end is not None
    guest.wait(GRACE_SECONDS)
    said = guest.end.detail.splitlines()[-1:] or [""]
    how = {
        "poweroff": "the guest powered off",
        "reboot": "the guest restarted",
        "crash": "the guest crashed",
        "failed": f"Xen could not start the guest: {said[0]}",
        "lost": "its host ended",
    }.get(guest.end.reason, f"the guest ended ({guest.end.reason})")
    return _not_booted(explain, guest.console_text()[skip:], f"{how} before {phases.NAMES[phase]}")


def _not_booted(explain: Explain, console: str, otherwise: str) -> NotBooted:
    """The cause, or what there is to say without one."""
    cause = explain(console)
    return NotBooted(cause.brief if cause else otherwise, cause)
