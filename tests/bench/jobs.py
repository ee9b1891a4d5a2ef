"""A job of a benchmark as a process of its own, so that its memory can be told."""

import json
import os
import subprocess
import sys
import time
from typing import Any


def job(module: str, *arguments: str) -> tuple[Any, int]:
    """What the module told as JSON on stdout, and its peak memory in bytes. SystemExit when it failed."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments}: exit {process.returncode} after {time.perf_counter() - began:.1f} s")
    return json.loads(told), usage.ru_maxrss * 1024
