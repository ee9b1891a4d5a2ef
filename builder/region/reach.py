"""What an instance's console tells of how it boots. Pure."""

from dataclasses import dataclass

from builder.machine import phases
from builder.machine.causes import cause_of

# What a system says that waits for its administrator: it has booted, though not as it should, and EC2 lets it run.
_ALIVE = frozenset({"emergency-mode", "fstab"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found on a console."""

    ready: bool = False
    """It is up: there is a login, or everything was started."""
    broken: bool = False
    """It will never be ready."""
    over: bool = False
    """Nothing runs there that could be worked with: the instance is to be ended."""
    cause: str = ""


def look(console: str, *, overdue: str = "") -> Look:
    """The state of a boot. `overdue`: there was time enough; what to say if nothing else is known."""
    if phases.reached("up", console):
        return Look(ready=True)
    cause = cause_of(console)
    if cause is not None and cause.fatal:
        return Look(broken=True, over=cause.id not in _ALIVE, cause=cause.brief)
    if overdue:
        return Look(broken=True, cause=cause.brief if cause is not None else overdue)
    return Look()
