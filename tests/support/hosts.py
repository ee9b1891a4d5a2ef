"""A Xen host that does at once what it is told, for tests of what is built upon it. The real one: tests/region."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.machine.created import Guest
from builder.machine.guest import End, GuestSpec
from builder.machine.network import Permission


@dataclass
class Host:
    """Told to end, a guest ends. `done` is what it was told."""

    place: Path
    refusing: list[BuilderError] = field(default_factory=list)
    """What `create` answers, one after the other, before it does as it is told."""
    deaf: bool = False
    """Its guests do not listen."""
    taken: frozenset[int] = frozenset()
    """Ports that cannot be had."""
    done: list[str] = field(default_factory=list)
    permissions: Mapping[str, tuple[Permission, ...]] = field(default_factory=dict)
    listening: set[tuple[str, int]] = field(default_factory=set)
    closed: bool = False
    seconds_to_ready: float = 0.0

    def create(self, spec: GuestSpec) -> Guest:
        self.done.append("create")
        if self.refusing:
            raise self.refusing.pop(0)
        return Guest(spec, 1, self.place / "console")

    def restart(self, guest: Guest) -> Guest:
        self.done.append("restart")
        return Guest(guest.spec, 1, guest.console)

    def reboot(self, guest: Guest) -> None:
        self._ask(guest, "reboot")

    def shut_down(self, guest: Guest) -> None:
        self._ask(guest, "poweroff")

    def _ask(self, guest: Guest, reason: str) -> None:
        self.done.append(reason)
        if not self.deaf:
            guest.finish(End(reason=reason))

    def destroy(self, guest: Guest) -> None:
        if guest.end is None:
            self.done.append("destroy")
            guest.finish(End(reason="destroyed"))

    def remove(self, guest: Guest) -> None:
        self.done.append("remove")
        self.destroy(guest)

    def permit(self, permissions: Mapping[str, tuple[Permission, ...]], **_: Any) -> None:
        self.permissions = dict(permissions)

    def forward(self, guest: Guest, guest_port: int, *, address: str, port: int = 0) -> int:
        del guest
        if port in self.taken:
            raise BuilderError(f"{address} port {port} cannot be listened on")
        chosen = port or 40000 + guest_port
        self.listening.add((address, chosen))
        return chosen

    def unforward(self, port: int, *, address: str) -> None:
        self.listening.remove((address, port))

    def close(self) -> None:
        self.closed = True
