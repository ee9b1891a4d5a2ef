"""Worker processes: started, heard, and ended with all that they started.

A worker lives as long as its stdin is open. Whoever holds the other end and dies, in whatever way, lets go of it: the
worker sees the end of its input and ends itself (builder/worker.py). Within a namespace setpriv and unshare see to the
same (builder/host/namespace.py), for the time before the worker listens.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from builder.errors import BuilderError
from builder.host import process
from builder.host.namespace import inside

_LOOK_SECONDS = 0.2
_FAREWELL_SECONDS = 1.0
_GRACE_SECONDS = 2.0
_CHUNK = 1 << 16


class Worker:
    """A running worker. Use as a context manager: afterwards nothing of it is left."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        namespace: bool,
        log: Path,
        way_in: Callable[[Sequence[str | Path]], list[str]] = inside,
    ) -> None:
        self.namespace = namespace
        self._process = process.start(way_in(command) if namespace else command, log=log)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End it, if it has not ended, and wait until it has. One that was heard out may end by itself: its log is
        whole then."""
        if kind is None or issubclass(kind, BuilderError):
            self._ended_within(_FAREWELL_SECONDS)
        self.kill()
        if not self._ended_within(_GRACE_SECONDS):
            self._kill_group()
        self._kill_group()  # what is left of the group when its leader is dead but not yet waited for
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def tell(self, line: bytes) -> None:
        """Give it one line. One that is dead already does not hear it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def lines(self) -> Iterator[bytes]:
        """What it says, line by line, until it closes its stdout or is dead.

        Dead with its stdout open: where the kernel refuses a user namespace, unshare 2.38 leaves the child behind
        that was to write the id map, and it holds the pipe for ever.
        """
        assert self._process.stdout is not None
        pipe, pending = self._process.stdout.fileno(), b""
        while True:
            if select.select([pipe], [], [], _LOOK_SECONDS)[0]:
                chunk = os.read(pipe, _CHUNK)
                if not chunk:
                    return
                *whole, pending = (pending + chunk).split(b"\n")
                yield from whole
            elif self._ended():
                return

    def kill(self) -> None:
        """Kill it and what it started; does not wait.

        Of a namespace, process 1 is killed and not the unshare that waits for it: unshare ends when the kernel has
        ended every process in there, so whoever has waited for it knows that nothing writes any more.
        """
        first = self._children() if self.namespace else ()
        for each in first:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        if not first:
            self._kill_group()

    def exit_code(self) -> int:
        """Waits for its end. Negative: the signal that ended it."""
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    # It is waited for only in __exit__ (WNOWAIT elsewhere): until then its id cannot be another process's.

    def _ended(self) -> bool:
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _ended_within(self, seconds: float) -> bool:
        with suppress(OSError):
            handle = os.pidfd_open(self._process.pid)
            try:
                return bool(select.select([handle], [], [], seconds)[0])
            finally:
                os.close(handle)
        return self._ended()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _children(self) -> tuple[int, ...]:
        pid = self._process.pid
        try:
            return tuple(int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except (OSError, ValueError):
            return ()
