"""A stage that does what its spec says."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from builder.errors import HostError
from builder.host import process
from builder.stages.contract import Result, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySpec:
    VERSION: ClassVar[int] = 1
    act: str = "write"
    text: str = ""
    journal: str = ""


def run(spec: PlaySpec, context: StageContext) -> Result:
    if spec.journal:
        with Path(spec.journal).open("a") as journal:
            journal.write(f"{context.key}\n")
    match spec.act:
        case "write":
            below = "".join((each.path / "text").read_text() for each in context.inputs)
            (context.output / "text").write_text(below + spec.text)
        case "say":
            print("a stray line on stdout")
            context.progress("counting", 1, 2, "things")
            context.note("look here")
            process.run(["sh", "-c", "echo from a program; echo from its stderr >&2"])
        case "refuse":
            raise HostError("the hose is dry", detail="two lines\nof detail", hint="fill it")
        case "bug":
            raise RuntimeError("this was not foreseen")
        case "full":
            raise OSError(28, "No space left on device", str(context.output / "big"))
        case "die":
            os.kill(os.getpid(), signal.SIGKILL if os.getpid() != 1 else signal.SIGTERM)
            sys.exit(7)
        case "sleep":
            process.run(["sleep", spec.text or "60"])
        case "spread":
            # A daemon that nobody stops, and files of a subordinate id.
            process.run(["setsid", "--fork", "sleep", "4242"])
            process.run(["sh", "-c", f"mkdir '{context.scratch}/tree' && chown 42:42 '{context.scratch}/tree'"])
            (context.scratch / "ready").touch()
            process.run(["sleep", "60"])
    return {"text": spec.text}
