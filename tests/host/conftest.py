"""What tests with real tools share: a way into the namespace, and directories that are removed inside it."""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, Exit
from builder.host import namespace

RUNNER = Path(__file__).parents[1] / "support" / "inside.py"


@pytest.fixture
def trees() -> Iterator[Path]:
    """An empty directory for trees with subordinate ids, open to other users of this machine."""
    path = Path(tempfile.mkdtemp(prefix="ami-factory-test-"))
    path.chmod(0o777)
    yield path
    namespace.remove_tree(path)


@pytest.fixture
def inside() -> Callable[..., Any]:
    """Call a function of a test file inside the namespace, as this user or as another one."""
    return call_inside


def call_inside(function: Callable[..., Any], *, user: str = "", **arguments: Any) -> Any:
    """The function's result. A BuilderError in there is raised here; anything else fails the test with its output."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    command = namespace.inside(
        [sys.executable, RUNNER, inspect.getfile(function), function.__name__, json.dumps(plain)]
    )
    if user:
        command = ["runuser", "-u", user, "--", *command]
    done = subprocess.run(
        command, capture_output=True, check=False, cwd="/", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    log = done.stderr.decode(errors="replace")
    sys.stderr.write(log)
    assert done.returncode == 0, log[-4000:]
    said = json.loads(done.stdout)
    if "error" in said:
        raise BuilderError(**{**said["error"], "exit": Exit(said["error"]["exit"])})
    return said["result"]
