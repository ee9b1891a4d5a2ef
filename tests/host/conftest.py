"""What tests with real tools share: a way into the namespace, and directories that are removed inside it."""

import inspect
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.canonical import to_plain
from builder.errors import BuilderError, Exit
from builder.host import namespace
from tests.support import rpms
from tests.support.running import run_stage

RUNNER = Path(__file__).parents[1] / "support" / "inside.py"


@pytest.fixture
def trees() -> Iterator[Path]:
    """An empty directory for trees with subordinate ids, open to other users of this machine."""
    path = Path(tempfile.mkdtemp(prefix="ami-factory-test-"))
    path.chmod(0o777)
    yield path
    if os.geteuid() == 0:
        shutil.rmtree(path)  # another user's files as well, which root's own namespace knows nothing of
    else:
        namespace.remove_tree(path)


@pytest.fixture
def inside() -> Callable[..., Any]:
    """Call a function of a test file inside the namespace, as this user or as another one."""
    return call_inside


@pytest.fixture
def stage(inside: Callable[..., Any]) -> Callable[..., Any]:
    """Run a stage: `stage("packages.run", spec, place=..., inputs=[(name, path, result)])` gives its result."""

    def run(
        module: str, spec: Any, *, place: Path, inputs: Any = (), sources: Any = None, user: str = "", trees: str = ""
    ) -> Any:
        said = inside(
            run_stage,
            user=user,
            module=f"builder.stages.{module}",
            spec=to_plain(spec),
            place=place,
            inputs=[[name, str(path), result] for name, path, result in inputs],
            sources=sources or {},
            trees=trees,
        )
        return said["result"]

    return run


@pytest.fixture
def other_user() -> str:
    """A user with subordinate ids that root can become."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for line in Path("/etc/subuid").read_text().splitlines():
        name = line.partition(":")[0]
        if name != "root" and any(each.pw_name == name for each in pwd.getpwall()):
            return name
    pytest.skip("no user but root has subordinate ids")


@pytest.fixture(scope="session")
def tiny() -> Iterator[Path]:
    """`repository` (a tiny distribution, signed as the quickstart's is), and its `key`; readable by every user."""
    base = Path(tempfile.mkdtemp(prefix="ami-factory-rpms-"))
    base.chmod(0o755)
    repository = base / "repository"
    rpms.build_rpms(rpms.PACKAGES, base / "build").rename(base / "packages")
    repository.mkdir()
    (base / "packages").rename(repository / "packages")
    key = rpms.make_key(base / "key", "tiny")
    rpms.sign_index(rpms.index(repository), key)
    yield base
    shutil.rmtree(base)


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
