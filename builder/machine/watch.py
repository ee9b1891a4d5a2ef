"""Keeps a QEMU for whoever started it, and leaves nothing behind: run as a program.

It ends QEMU and removes the directory when its own stdin is closed: when the owner says so, or has died in whatever
way. Should this program be killed, the kernel kills QEMU (PR_SET_PDEATHSIG), and the directory is swept by the next
one (builder/machine/workplace.py).
"""

import os
import select
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from builder.host import process


def watch(place: Path, log: Path, command: Sequence[str], inherit: Sequence[int]) -> int:
    """The exit code of QEMU; negative: the signal that ended it."""
    running = process.start(["setpriv", "--pdeathsig", "KILL", "--", *command], log=log, cwd=place, inherit=inherit)
    for each in inherit:
        os.close(each)
    try:
        handle = os.pidfd_open(running.pid)
        select.select([0, handle], [], [])
        running.kill()
        return running.wait()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def command_line(place: Path, log: Path, command: Sequence[str | Path], inherit: Sequence[int]) -> list[str]:
    descriptors = ",".join(str(each) for each in inherit)
    return [sys.executable, "-m", __name__, str(place), str(log), descriptors, *(str(part) for part in command)]


if __name__ == "__main__":
    _, where, log_path, passed, *argv = sys.argv
    sys.exit(watch(Path(where), Path(log_path), argv, [int(each) for each in passed.split(",") if each]) & 255)
