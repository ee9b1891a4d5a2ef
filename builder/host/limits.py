"""What a sandboxed program may take of this machine, and who watches that it takes no more.

Each limit holds twice where it can: the kernel's own (a control group, RLIMIT_FSIZE, sizes of file systems in memory)
contains a program at once, and the watcher, which looks several times a second, ends one that has reached a limit, and
says which. A program that nothing contains but the watcher can go over a limit for as long as it takes to look.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import BuilderError
from builder.host.control_group import Group, control_group

MIB = 1024**2
GIB = 1024**3
LOOK_SECONDS = 0.1
_ENTRY = 4096  # what a file takes at least, when there are millions
_SHARE = 20  # the watcher measures a tree at most one part in so many of its time
_OURS = 32  # the worker's own tasks, and so many more that the watcher sees the limit passed
_KILL_ME_FIRST = 500  # oom_score_adj, of up to 1000


def _memory() -> int:
    """4 GiB, or three quarters of a machine that has not much more."""
    return min(4 * GIB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, bytes, tasks (processes and threads at one time), bytes written to the tree, bytes said to the log."""

    time: int = 3600
    memory: int = field(default_factory=_memory)
    processes: int = 2048
    disk: int = 10 * GIB
    log: int = 64 * MIB


NAMES = tuple(Limits.__dataclass_fields__)
_DID = {
    "time": "it ran for more than",
    "memory": "it took more memory than",
    "processes": "it had more processes and threads at a time than",
    "disk": "it wrote more to the tree than",
    "log": "it wrote more to its log than",
}
_current = Limits()


def limit_to(given: Mapping[str, int]) -> None:
    """From now on these limits hold in this process, and the usual ones where none is given: a worker's step's."""
    global _current
    _current = Limits(**given)


def current() -> Limits:
    """The limits that hold in this process."""
    return _current


def shown(name: str, value: int) -> str:
    """A limit as a recipe has it."""
    if name == "processes":
        return str(value)
    units = ((3600, "h"), (60, "min"), (1, "s")) if name == "time" else ((GIB, "GiB"), (MIB, "MiB"), (1, " bytes"))
    return next(f"{value // unit}{word}" for unit, word in units if value % unit == 0)


def exceeded(what: str, name: str, limits: Limits) -> BuilderError:
    """What the user reads when `what` was stopped."""
    limit = shown(name, getattr(limits, name))
    return BuilderError(
        f"{what} was stopped: {_DID[name]} {limit}",
        hint=f"if it needs more, say so: {name} in the recipe's [limits] or in the script's limits, or for one build "
        f"--limit {name}=VALUE",
    )


@contextmanager
def bounded(what: str, *, grows: Path | None = None) -> Iterator["Watcher"]:
    """A watcher of one run, by the limits of this process; `grows` is the directory that the program's files are in."""
    limits = _current
    with control_group(memory=limits.memory, processes=limits.processes) as group:
        yield Watcher(what=what, limits=limits, group=group, grows=grows)


@dataclass(slots=True, kw_only=True)
class Watcher:
    """Watches one program (see process.Watch). Made by `bounded`."""

    what: str
    limits: Limits
    group: Group
    grows: Path | None = None
    proc: Path = Path("/proc")
    every: float = LOOK_SECONDS
    began: float = field(default_factory=time.monotonic)
    measure_at: float = 0.0

    @property
    def prefix(self) -> tuple[str, ...]:
        """What the command starts with: it enters the group, may write no larger file, and when this machine runs out
        of memory it is the first to go."""
        own = ("choom", "-n", str(_KILL_ME_FIRST), "--")
        # Where there is no group: of the user who builds, in this namespace. This machine's root has no such limit.
        tasks = f"--nproc={self.limits.processes + _OURS}"
        return (*self.group.prefix, *own, "prlimit", "--core=0", tasks, f"--fsize={self.limits.disk}", "--")

    @property
    def most(self) -> int:
        """How much of what it says is kept."""
        return self.limits.log

    def look(self, said: int, *, ended: bool) -> None:
        """BuilderError when a limit was reached."""
        if name := self._reached(said, ended=ended):
            raise exceeded(self.what, name, self.limits)

    def _reached(self, said: int, *, ended: bool) -> str:
        if said > self.limits.log:
            return "log"
        if not ended and time.monotonic() - self.began > self.limits.time:
            return "time"
        if not ended and (not self.group.memory or not self.group.processes):
            # Both, where the kernel has none of one: they are read from one place.
            tasks, memory = self._taken()
            if tasks > self.limits.processes:
                return "processes"
            if memory > self.limits.memory:
                return "memory"
        return self.group.exceeded() or ("disk" if self._is_full(ended=ended) else "")

    def _taken(self) -> tuple[int, int]:
        """Tasks and memory of everything in a process namespace below ours."""
        depth = len(_fields(self.proc / "self")["NSpid"].split())
        tasks, resident, places = 0, 0, []
        for place in self._processes():
            with suppress(OSError, KeyError, ValueError):
                said = _fields(place)
                if len(said["NSpid"].split()) > depth:
                    tasks += int(said["Threads"])
                    resident += sum(_kib(said.get(name, "0")) for name in ("RssAnon", "RssShmem", "VmSwap"))
                    places.append(place)
        # Pages that several processes share were counted for each of them: only when it matters is it done exactly.
        if resident > self.limits.memory:
            resident = sum(_proportional(place) for place in places)
        return tasks, resident

    def _processes(self) -> Iterator[Path]:
        with os.scandir(self.proc) as entries:
            yield from (Path(each.path) for each in entries if each.name.isdigit())

    def _is_full(self, *, ended: bool) -> bool:
        began = time.monotonic()
        if self.grows is None or not (ended or began >= self.measure_at):
            return False
        try:
            size = size_of(self.grows, self.limits.disk)
        except OSError as error:
            raise BuilderError(
                f"{self.what} was stopped: it made a path that is too long for this machine",
                detail=str(error)[:200],
                hint="no path may be longer than about 4000 bytes",
            ) from None
        if not ended and size <= self.limits.disk:
            size += self._unnamed()
        spent = time.monotonic() - began
        self.measure_at = began + max(self.every * 3, spent * _SHARE)
        return size > self.limits.disk

    def _unnamed(self) -> int:
        """Bytes of files that are open and have no name any more, files in memory (memfd) among them."""
        found: dict[tuple[int, int], int] = {}
        for place in self._processes():
            if place.name == str(os.getpid()):
                continue
            with suppress(OSError), os.scandir(place / "fd") as entries:
                for each in entries:
                    with suppress(OSError):
                        status = each.stat()
                        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                            found[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(found.values())


def size_of(directory: Path, enough: int) -> int:
    """Bytes of a tree as a layer would hold it: holes are written out, and the smallest file takes a block. Counting
    ends at more than `enough`. OSError (ENAMETOOLONG) where it is too deep to be looked at."""
    size, pending = 0, [os.fsencode(directory)]
    seen: set[tuple[int, int]] = set()
    while pending and size <= enough:
        try:
            with os.scandir(pending.pop()) as entries:
                for each in entries:
                    # What goes while it is looked at is not there.
                    with suppress(FileNotFoundError):
                        size += _size(each, seen)
                        if each.is_dir(follow_symlinks=False):
                            pending.append(each.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise
    return size


def _size(entry: "os.DirEntry[bytes]", seen: set[tuple[int, int]]) -> int:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        return _ENTRY
    if status.st_nlink > 1:
        if (status.st_dev, status.st_ino) in seen:
            return _ENTRY
        seen.add((status.st_dev, status.st_ino))
    return max(_ENTRY, status.st_size)


def _fields(place: Path) -> dict[str, str]:
    lines = (place / "status").read_text(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _kib(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _proportional(place: Path) -> int:
    with suppress(OSError, ValueError):
        lines = (place / "smaps_rollup").read_text().splitlines()
        return sum(_kib(line.partition(":")[2]) for line in lines if line.startswith(("Pss:", "SwapPss:")))
    return 0
