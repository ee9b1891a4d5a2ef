"""A shell in a throw-away copy of a step's root tree. Run as a module, it is the half inside the namespace."""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.host import process
from builder.host.devices import protect_devices
from builder.host.layers import root_tree
from builder.host.namespace import inside
from builder.host.sandbox import ENVIRONMENT, mount_points, sandbox_command
from builder.stages.contract import Input, StageContext, Surroundings
from builder.store.local import LocalStore


def open_shell(store: LocalStore, key: str) -> int:
    """A shell on the caller's terminal; its exit code. What it writes is gone afterwards."""
    layers = _layers(store, key)
    if not layers:
        raise BuilderError(
            f"step {key[:12]} has no root tree to look into", hint=f"its log: ami-factory logs {key[:12]}"
        )
    with store.workspace(key) as room:
        request = {"layers": layers, "scratch": str(room.scratch), "trees": str(store.trees)}
        return process.attached(inside([sys.executable, "-m", "builder.shell", json.dumps(request)]))


def _layers(store: LocalStore, key: str) -> list[Mapping[str, Any]]:
    """The layers that the step was given in its last run, and its own if it was finished."""
    inputs: list[Any] = []
    if store.job_path(key).exists():
        inputs = json.loads(store.job_path(key).read_bytes())["inputs"]
    elif store.has(key):
        for name, other in store.get(key).record.inputs.items():
            if store.has(other):
                found = store.get(other)
                inputs.append((name, str(found.path), found.record.result))
    if store.has(key):
        own = store.get(key)
        inputs.append(("itself", str(own.path), own.record.result))
    return [
        {"name": name, "path": path, "result": result}
        for name, path, result in inputs
        if (Path(path) / "layer.tar").exists()
    ]


def main(request: Mapping[str, Any]) -> int:
    """Inside the namespace: merge the layers and start the shell in the sandbox."""
    scratch = Path(request["scratch"])
    context = StageContext(
        key="",
        inputs=tuple(Input(name=e["name"], path=Path(e["path"]), result=e["result"]) for e in request["layers"]),
        output=Path(tempfile.mkdtemp(dir=scratch)),
        scratch=scratch,
        surroundings=Surroundings(state=scratch, cache=scratch, trees=Path(request["trees"])),
        progress=lambda *_: None,
    )
    with root_tree(context, writable=True) as tree, mount_points(tree.path) as binds:
        protect_devices()
        line = sandbox_command(tree.path, ["/bin/sh", "-l"], binds=binds, interactive=True)
        return process.attached(line, env={**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")})


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
