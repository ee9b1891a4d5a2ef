"""The process that a step runs in: a job comes in as JSON on stdin, events go out as JSON lines on stdout.

The job is one line, and stdin stays open behind it as long as somebody wants the result: its end is the worker's end,
and that of what it started. Its stderr is the step's log. Jobs are plain data, so that a step can be carried to another
machine.
"""

import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from builder.canonical import from_plain, to_plain
from builder.errors import BuilderError, of_the_disk
from builder.host import limits, process
from builder.stages.contract import Input, StageContext, Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call of a `run(spec, context)`."""

    module: str
    """Where `run` is: builder.stages.image.run"""
    key: str
    spec: dict[str, Any]
    inputs: tuple[tuple[str, str, dict[str, Any]], ...]
    """name, path, result"""
    output: str
    scratch: str
    surroundings: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)


def main() -> int:
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # a stray print, or a program's output, must not be taken for an event
    sys.stdout = sys.stderr  # and stands in the log at once: after its result a worker may not live to flush it
    process.log_to(sys.stderr)
    # As process 1 of its namespace a worker would not see Ctrl-C at all; elsewhere the executor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def emit(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")

    try:
        job = Job(**json.loads(sys.stdin.buffer.readline()))
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        emit(result=run_job(job, emit))
    # The event first, then the log: where the disk is full, the log cannot be written.
    except BuilderError as error:
        emit(error=_plain(error))
        print(f"error: {error.brief}\n{error.detail}", file=sys.stderr)
    except OSError as error:
        emit(error=_plain(of_the_disk(error) or BuilderError(str(error))))
        traceback.print_exc()
    except Exception as error:
        emit(bug=f"{type(error).__name__}: {error}")
        traceback.print_exc()
    return 0


def _end_with_stdin() -> None:
    """When nobody wants the result any more: end, with every process of the namespace or of the session."""
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)  # of a namespace this is process 1, and the kernel ends the others


def run_job(job: Job, emit: Any) -> Any:
    """Import the stage, rebuild its spec from plain data, run it; plain data comes back."""
    os.environ.update(job.environment)
    os.environ["TMPDIR"] = job.scratch
    os.umask(0o022)
    run = import_module(job.module).run
    spec = from_plain(get_type_hints(run)["spec"], job.spec)
    context = StageContext(
        key=job.key,
        inputs=tuple(Input(name=name, path=Path(path), result=result) for name, path, result in job.inputs),
        output=Path(job.output),
        scratch=Path(job.scratch),
        surroundings=from_plain(Surroundings, job.surroundings),
        progress=lambda what, done, total, unit="bytes": emit(progress=[what, done, total, unit]),
        note=lambda text: emit(note=text),
    )
    limits.limit_to(context.surroundings.limits)
    return to_plain(run(spec, context))


def _plain(error: BuilderError) -> dict[str, Any]:
    return {"brief": error.brief, "detail": error.detail, "hint": error.hint, "exit": int(error.exit)}


if __name__ == "__main__":
    sys.exit(main())
