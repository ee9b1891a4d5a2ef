"""A control group for what runs in the sandbox: the one fence against memory and processes that nothing gets over.

It is made where this machine lets us: for root, or where a session's groups were delegated to the user. Elsewhere
there is none, and the watcher (host/limits.py) looks for itself. Both versions of the kernel's interface are known
(Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_PREFIX = "ami-factory-"
_STALE_SECONDS = 24 * 3600
_LEAVING_SECONDS = 2.0
# $1: how many groups to enter; their files; the command.
_ENTER = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; n=$((n-1)); done; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The directories of one group: of version 1 there is one for each controller."""

    memory: Path | None = None
    processes: Path | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(each for each in (self.memory, self.processes) if each))

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to write before a command so that it starts in here, with all that it starts."""
        files = [str(each / "cgroup.procs") for each in self.places]
        return ("/bin/sh", "-c", _ENTER, "enter", str(len(files)), *files) if files else ()

    def exceeded(self) -> str:
        """ "memory" when the kernel killed something for want of it, "processes" when it refused one, else ""."""
        memory = self.memory and (
            _count(self.memory / "memory.events", "oom_kill") or _count(self.memory / "memory.oom_control", "oom_kill")
        )
        if memory:
            return "memory"
        return "processes" if self.processes and _count(self.processes / "pids.events", "max") else ""


@contextmanager
def control_group(*, memory: int, processes: int, mount: Path = MOUNT, own: Path = OWN) -> Iterator[Group]:
    """A group with these limits (bytes, tasks), as far as one can be made; gone afterwards."""
    made: list[Path] = []
    try:
        yield _make(made, _parents(mount, own), memory, processes)
    finally:
        for each in made:
            _remove(each)


def _make(made: list[Path], parents: dict[str, Path], memory: int, processes: int) -> Group:
    name = f"{_PREFIX}{secrets.token_hex(8)}"
    found: dict[str, Path] = {}
    for controller, files in (
        ("memory", {"memory.max": memory, "memory.swap.max": 0, "memory.limit_in_bytes": memory}),
        ("pids", {"pids.max": processes}),
    ):
        with suppress(OSError, KeyError):
            place = parents[controller] / name
            _remove_stale(place.parent)
            if place not in made:
                place.mkdir()
                made.append(place)
            set_here = [each for each, limit in files.items() if _write(place / each, limit)]
            if {"memory.max", "memory.limit_in_bytes", "pids.max"} & {*set_here}:
                found[controller] = place
    return Group(memory=found.get("memory"), processes=found.get("pids"))


def _parents(mount: Path, own: Path) -> dict[str, Path]:
    """Controller to the group below which to make ours."""
    found = {}
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names:
                found.update({each: mount / names / path.lstrip("/") for each in names.split(",")})
            elif (mount / "cgroup.controllers").exists():
                # A group with processes cannot have groups with controllers in it: beside ours, then.
                ours = mount / path.lstrip("/")
                parent = ours if ours == mount else ours.parent
                found.update(dict.fromkeys((parent / "cgroup.subtree_control").read_text().split(), parent))
    return found


def _write(file: Path, value: int) -> bool:
    try:
        if file.exists():
            file.write_text(str(value))
            return True
    except OSError:
        pass
    return False


def _count(file: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _remove(place: Path) -> None:
    """Once the last process is gone, which its parent may not have heard of yet."""
    until = time.monotonic() + _LEAVING_SECONDS
    while place.exists():
        try:
            place.rmdir()
        except OSError:
            if time.monotonic() > until:
                return
            time.sleep(0.01)


def _remove_stale(parent: Path) -> None:
    """What killed builds left; one with processes in it cannot be removed."""
    for each in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if each.stat().st_ctime < time.time() - _STALE_SECONDS:
                each.rmdir()
