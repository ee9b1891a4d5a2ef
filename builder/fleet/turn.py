"""One build of a fleet at a time on this machine."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import BuilderError


@contextmanager
def turn(state: Path, fleet: str) -> Iterator[None]:
    """Hold the fleet's turn; the kernel lets go of it however we end. BuilderError while another build has it."""
    place = state / "fleets" / f"{fleet}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise BuilderError(
                f"fleet {fleet}: it is being built already" + (f", by process {holder}" if holder.isdigit() else ""),
                hint="wait for it to end",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)
