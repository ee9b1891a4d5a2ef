"""Runs a stage as the worker does, for tests that call it inside the namespace."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from builder.host import process
from builder.stages.contract import Input, StageContext, Surroundings
from builder.worker import from_plain


def run_stage(
    module: str, spec: dict[str, Any], place: str, inputs: list[list[Any]], sources: dict[str, str], trees: str = ""
) -> dict[str, Any]:
    """Result and notes of one run; `inputs` are (name, path, result). Its output is PLACE/output."""
    process.log_to(sys.stderr)
    base = Path(place)
    for name in ("output", "scratch", "state", "cache"):
        (base / name).mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    run = import_module(module).run
    context = StageContext(
        key="0" * 64,
        inputs=tuple(Input(name=name, path=Path(path), result=result) for name, path, result in inputs),
        output=base / "output",
        scratch=base / "scratch",
        surroundings=Surroundings(
            state=base / "state", cache=base / "cache", trees=Path(trees or base / "trees"), sources=sources
        ),
        progress=lambda what, done, total, unit="bytes": None,
        note=notes.append,
    )
    return {"result": run(from_plain(get_type_hints(run)["spec"], spec), context), "notes": notes}
