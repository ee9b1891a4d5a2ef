"""One instance from its bundle to its end, in a thread of its own. Its record says where it is; nobody else moves it on
from `pending`, nor to `terminated`."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from builder.errors import BuilderError
from builder.region.ec2.instances import states
from builder.region.ec2.instances.record import Instance
from builder.region.ec2.region import Reach, now
from builder.region.reach import look
from builder.region.state import State

if TYPE_CHECKING:
    from builder.machine.created import Guest
    from builder.machine.guest import End, GuestSpec

POLL = 0.5
BOOT_SECONDS = 600.0
"""For a login on the console, after which an instance counts as impaired. Emulated, and on a busy machine."""
SHUTDOWN_SECONDS = 60.0
"""For a system that was asked to power off or restart; then it is as with a power button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why an instance is over."""

    code: str
    reason: str
    stopped: bool = False
    """It may be started again."""


class Host(Protocol):
    """Where guests run: machine/host.py, machine/hvm.py."""

    def create(self, spec: "GuestSpec") -> "Guest": ...
    def restart(self, guest: "Guest") -> "Guest": ...
    def reboot(self, guest: "Guest") -> None: ...
    def shut_down(self, guest: "Guest") -> None: ...
    def destroy(self, guest: "Guest") -> None: ...
    def remove(self, guest: "Guest") -> None: ...
    def close(self) -> None: ...


class Surroundings(Protocol):
    """What a life needs of the machines."""

    def spec(self, instance: Instance) -> "GuestSpec":
        """BuilderError when its image cannot be started."""

    def host(self, instance: Instance) -> Host:
        """The host, started if it is not there. BuilderError when it cannot be."""

    def lost(self, host: Host) -> None:
        """This host has ended."""

    def began(self) -> None:
        """A guest is there: what may reach it is to be said."""

    def over(self, instance: str) -> None:
        """Nothing of it is left but its record, and its volumes if it was stopped."""


class Life:
    """See the module."""

    def __init__(self, instance: Instance, state: State, surroundings: Surroundings) -> None:
        self.instance = instance
        self.guest: Guest | None = None
        self._reach = Reach(status="initializing")
        self._state = state
        self._surroundings = surroundings
        self._host: Host | None = None
        self._terminating = threading.Event()
        self._stopping = threading.Event()
        self._rebooting = threading.Event()
        self._seen = 0
        """Bytes of the console that belong to boots before this one."""
        self._patience = 0.0
        self._thread = threading.Thread(target=self._run, name=instance.id, daemon=True)

    @property
    def reach(self) -> Reach:
        """Of one that is to restart, nothing is known any more."""
        return Reach(status="initializing") if self._rebooting.is_set() else self._reach

    def begin(self) -> None:
        self._thread.start()

    def terminate(self) -> None:
        self._terminating.set()

    def stop(self) -> None:
        """For an instance that may be stopped."""
        self._stopping.set()

    def reboot(self) -> None:
        self._rebooting.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            ending = self._live()
        except BuilderError as error:
            ending = _failed(states.REGION, error)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            ending = Ending(code=states.REGION, reason="the local region has a fault: its log has the traceback")
        try:
            if self._host is not None and self.guest is not None:
                self._host.remove(self.guest)
        finally:
            with self._state.transaction() as database:
                stopped = ending.stopped and states.stopped(
                    database, self.instance.id, code=ending.code, reason=ending.reason
                )
                if not stopped:
                    states.shut_down(database, self.instance.id, code=ending.code, reason=ending.reason)
                    states.terminate(database, self.instance.id)
            how = "stopped" if stopped else "terminated"
            sys.stderr.write(f"{now()} {self.instance.id} {how}: {ending.reason}\n")
            self._surroundings.over(self.instance.id)

    def _live(self) -> Ending:
        try:
            spec = self._surroundings.spec(self.instance)
        except BuilderError as error:
            return _failed(states.IMAGE, error)
        if self._told_to_end:
            return self._by_user()
        try:
            guest = self._create(spec)
        except BuilderError as error:
            return _failed(states.CAPACITY if "room" in error.brief else states.REGION, error)
        with self._state.transaction() as database:
            if not states.start(database, self.instance.id) and not self._told_to_end:
                self._terminating.set()  # before there was anybody to be told
        self._surroundings.began()
        return self._follow(guest)

    def _create(self, spec: "GuestSpec") -> "Guest":
        from builder.machine.qmp import Closed

        for last in (False, True):
            self._host = self._surroundings.host(self.instance)
            try:
                self.guest = self._host.create(spec)
                self._patience = time.monotonic() + BOOT_SECONDS
                self._seen = len(self.guest.console_text())  # of what ran before it was stopped
                return self.guest
            except Closed:  # a host that was idle may have been killed meanwhile
                self._surroundings.lost(self._host)
                if last:
                    raise
        raise AssertionError("unreachable")

    def _follow(self, guest: "Guest") -> Ending:
        """Until it is over, whoever ends it."""
        assert self._host is not None
        while True:
            end = guest.wait(POLL)
            if self._told_to_end:
                self._stop(guest, self._host.shut_down)
                return self._by_user()
            if end is None and self._rebooting.is_set():
                self._stop(guest, self._host.reboot)
                end = guest.end
                if end is not None and end.reason != "lost":
                    guest = self._again(guest)
                    continue
            if end is not None and end.reason == "reboot":
                guest = self._again(guest)
            elif end is not None:
                return self._ended(guest, end)
            elif self._reach.status == "initializing" and (ending := self._look(guest)):
                return ending

    def _again(self, guest: "Guest") -> "Guest":
        assert self._host is not None
        self._seen = len(guest.console_text())
        self._reach = Reach(status="initializing")
        self._rebooting.clear()
        self._patience = time.monotonic() + BOOT_SECONDS
        self.guest = self._host.restart(guest)
        return self.guest

    def _stop(self, guest: "Guest", ask: "Callable[[Guest], None]") -> None:
        """Ask the system to end; one that does not, or cannot yet, is ended."""
        assert self._host is not None
        if guest.end is None and self._reach.status == "ok":
            ask(guest)
            guest.wait(SHUTDOWN_SECONDS)
        self._host.destroy(guest)

    def _look(self, guest: "Guest") -> Ending | None:
        overdue = f"no login on the console within {BOOT_SECONDS:.0f} s" if time.monotonic() > self._patience else ""
        found = look(guest.console_text()[self._seen :], overdue=overdue)
        if found.ready:
            self._reach = Reach(status="ok")
        elif found.over:
            return Ending(code=states.IMAGE, reason=f"Client error on launch: {found.cause}")
        elif found.broken:
            self._reach = Reach(status="impaired", since=now())
            with self._state.transaction() as database:
                states.explain(database, self.instance.id, code=states.IMAGE, reason=found.cause)
        return None

    def _ended(self, guest: "Guest", end: "End") -> Ending:
        found = look(guest.console_text()[self._seen :])
        if end.reason == "lost":
            assert self._host is not None
            self._surroundings.lost(self._host)
            where = "QEMU" if guest.spec.hvm is not None else "Xen host"
            reason = f"the {where} that it ran on has ended"
            return Ending(code=states.REGION, reason=reason, stopped=self.instance.keeps_volumes)
        if found.broken:
            return Ending(code=states.IMAGE, reason=f"Client error on launch: {found.cause}")
        if end.reason == "poweroff":
            stopped = self.instance.shutdown_behavior == "stop"
            return Ending(code=states.ITSELF, reason="Instance initiated shutdown", stopped=stopped)
        if end.reason == "destroyed":
            reason = "the local region was stopped"
            return Ending(code=states.REGION, reason=reason, stopped=self.instance.keeps_volumes)
        said = f" ({end.detail.splitlines()[-1]})" if end.detail else ""
        if end.reason == "failed":
            return Ending(code=states.REGION, reason=f"Internal error on launch: Xen could not start it{said}")
        how = "it crashed" if end.reason == "crash" else f"it ended: {end.reason}"
        return Ending(code=states.IMAGE, reason=f"{how}{said}")

    @property
    def _told_to_end(self) -> bool:
        return self._terminating.is_set() or self._stopping.is_set()

    def _by_user(self) -> Ending:
        return Ending(code=states.USER, reason="User initiated shutdown", stopped=not self._terminating.is_set())


def _failed(code: str, error: BuilderError) -> Ending:
    words = {states.IMAGE: "Client error on launch: ", states.REGION: "Internal error on launch: "}
    said = "; ".join(filter(None, (error.brief, error.hint)))
    return Ending(code=code, reason=f"{words.get(code, '')}{said}")
