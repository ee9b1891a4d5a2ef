"""Starting, stopping and finding the local region. Light: nothing of the region itself is imported.

Who runs is told by a lock that the daemon holds on the directory, and where it listens by a file beside it; a region is
believed only when its health endpoint answers with the directory's own id. So stale files, recycled pids and another
region on the same port are all harmless.
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import RegionError
from builder.host import process
from builder.region.identity import identity
from builder.region.layout import Layout
from builder.region.wishes import Wishes, check, command_line

STOP_TIMEOUT = 10.0
# A daemon that holds its directory and does not answer is starting or stopping: it gets this long to be done.
SETTLE_TIMEOUT = 30.0
ANSWER_TIMEOUT = 10.0
LOG_TAIL = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A region that answers."""

    endpoint_url: str
    pid: int
    id: str
    account: str
    since: str
    """When it was started, as 2026-11-22T23:12:46Z."""
    buckets: int
    objects: int
    bytes: int
    """Of all objects."""
    images: int
    instances: int
    """That are not terminated."""
    guest_memory_mib: int
    """The most that an instance gets."""
    client: str
    """The address that instances see for this host's connections."""
    directory: Path
    log: Path


def start(directory: Path, wishes: Wishes | None = None) -> Status:
    """Make sure that the region of `directory` runs. Safe to call at any time and by many at once.

    A region that runs already stays as it was started: if that is not what is wished for, RegionError.
    """
    wanted = wishes or Wishes()
    check(wanted)
    layout = Layout(directory.absolute())
    found = status(directory)
    if found is None:
        with _controlled(layout):
            found = status(directory)
            if found is None:
                _launch(layout, wanted)
                found = status(directory)
    if found is None:
        raise RegionError(
            "the local region does not answer",
            detail=_tail(layout),
            hint=f"the log is {layout.log}; run: ami-factory region stop, then start",
        )
    _refuse_other(found, wanted)
    return found


def _refuse_other(found: Status, wanted: Wishes) -> None:
    """RegionError when a region runs otherwise than is wished for."""
    runs = ""
    if wanted.port and found.endpoint_url != _url(wanted.port):
        runs = f"on {found.endpoint_url}, not on port {wanted.port}"
    elif wanted.guest_memory_mib and found.guest_memory_mib != wanted.guest_memory_mib:
        runs = f"with {found.guest_memory_mib} MiB for an instance, not {wanted.guest_memory_mib}"
    elif wanted.client and found.client != wanted.client:
        runs = f"with its client at {found.client}, not {wanted.client}"
    if runs:
        raise RegionError(f"the local region runs {runs}", hint="stop it first")


def stop(directory: Path) -> bool:
    """Stop the region; whether it was running. What it answered before is kept."""
    layout = Layout(directory.absolute())
    if _holder(layout) is None:
        return False
    with _controlled(layout):
        return _stop(layout)


def status(directory: Path) -> Status | None:
    """The region of `directory`, if it runs and answers."""
    layout = Layout(directory.absolute())
    try:
        port = int(json.loads(layout.daemon.read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    health = _health(port)
    if health is None or health.get("id") != identity(layout.directory).id:
        return None
    return Status(
        endpoint_url=_url(port),
        pid=health["pid"],
        id=health["id"],
        account=health["account"],
        since=health["since"],
        buckets=health["buckets"],
        objects=health["objects"],
        bytes=health["bytes"],
        images=health["images"],
        instances=health.get("instances", 0),
        guest_memory_mib=health.get("guest_memory_mib", 0),
        client=health.get("client", ""),
        directory=layout.directory,
        log=layout.log,
    )


def reset(directory: Path) -> None:
    """Stop the region and remove all that is in it. Its identity stays: bundles made for its certificate stay good."""
    layout = Layout(directory.absolute())
    if not layout.directory.exists():
        return
    with _controlled(layout):
        _stop(layout)
        shutil.rmtree(layout.state, ignore_errors=True)
        layout.daemon.unlink(missing_ok=True)
    if layout.state.exists():
        raise RegionError(f"{layout.state} could not be removed", hint="look at who owns the files in it")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _health(port: int) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", "/_region/health")
        response = connection.getresponse()
        found = json.loads(response.read(1 << 16)) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return found if isinstance(found, dict) else None


@contextmanager
def _controlled(layout: Layout) -> Iterator[None]:
    """One starter, stopper or resetter at a time."""
    layout.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with layout.control.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _holder(layout: Layout) -> int | None:
    """The pid of the daemon that holds the directory; None when nobody does."""
    try:
        with layout.lock.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except FileNotFoundError:
        pass
    return None


def _launch(layout: Layout, wanted: Wishes) -> None:
    """Run the daemon's launcher, which ends when the region answers."""
    if _holder(layout) is not None:
        _wait(lambda: status(layout.directory) is not None or _holder(layout) is None, timeout=SETTLE_TIMEOUT)
        if status(layout.directory) is not None:
            return
        _stop(layout)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "builder.region.server",
        "--directory",
        layout.directory,
        *command_line(wanted),
    ]
    done = process.run(command, capture=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        raise RegionError(
            f"the local region did not start: {reason.splitlines()[-1] if reason else 'no reason given'}",
            detail=_tail(layout),
            hint=f"the log is {layout.log}",
        )


def _stop(layout: Layout) -> bool:
    """SIGTERM, then SIGKILL: the state survives either."""
    pid = _holder(layout)
    if pid is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise RegionError(f"the local region belongs to another user (pid {pid})") from error
        if _wait(lambda: _holder(layout) is None, timeout=STOP_TIMEOUT):
            return True
    raise RegionError(f"the local region (pid {pid}) did not end", hint=f"the log is {layout.log}")


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _tail(layout: Layout) -> str:
    try:
        lines = layout.log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_TAIL:])
