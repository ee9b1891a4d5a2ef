"""Putting the region's process in the background, and telling the caller how that went."""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import IO

from builder.region.layout import Layout

LARGEST_LOG = 1 << 20
READY = "ready"
# It takes half a second on an idle machine.
PATIENCE = 60.0


def launch(layout: Layout, serve: Callable[[IO[str]], int]) -> int:
    """Fork, run `serve` in the child, and wait until it says "ready" (0) or what is wrong (1, with that on stderr).

    The child has a session of its own, the log as its output, and nothing of the caller's open.
    """
    layout.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        said = _wait(reader, child)
        if said == READY:
            return 0
        sys.stderr.write(f"{said or 'the daemon ended before it was ready'}\n")
        return 1
    status = 1
    try:
        os.close(reader)
        _detach(layout)
        with os.fdopen(writer, "w") as pipe:
            status = serve(pipe)
    except Exception:
        traceback.print_exc()
    finally:
        # A forked child must run neither its parent's exit handlers nor its code.
        os._exit(status)


def _wait(reader: int, child: int) -> str:
    """What the child says, once it closes the pipe or ends; a child that says nothing for too long is ended."""
    with os.fdopen(reader, "rb") as pipe:
        if not select.select([pipe], [], [], PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
            return f"the daemon was not ready after {PATIENCE:.0f} s"
        return pipe.read().decode(errors="replace")


def _detach(layout: Layout) -> None:
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    if layout.log.exists() and layout.log.stat().st_size > LARGEST_LOG:
        layout.log.replace(layout.log.with_name("region.old.log"))
    log = os.open(layout.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
