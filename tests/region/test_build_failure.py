"""The whole chain of the quickstart, killed and interrupted: nothing is left, nothing is registered twice.

Minutes, and the host's Debian archive: run by `make test-full`.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.region import control
from tests.support.regions import client
from tests.support.shipped import shipped
from tests.support.tiny import Bench, alive, descendants, interrupt, mentions, wait_for

pytestmark = [pytest.mark.host, pytest.mark.slow]

DAEMON = "builder.region.server"


@pytest.fixture(scope="module")
def warm() -> Iterator[Bench]:
    """The quickstart, built up to its last layer."""
    with shipped("quickstart", room="chain") as bench:
        assert bench.run("build", bench.recipe, "--until", "configure").returncode == 0
        yield bench


@pytest.fixture
def chain(warm: Bench) -> Iterator[Bench]:
    """A copy of it, objects and caches shared by hard links: both are written by rename only."""
    bench = Bench(path=Path(tempfile.mkdtemp(prefix="ami-factory-chain-")), name="quickstart")
    for name, how in (("recipes", "-a"), ("state", "-a"), ("cache", "-al")):
        subprocess.run(["cp", how, warm.path / name, bench.path / name], check=True)
    yield bench
    control.stop(region(bench))
    shutil.rmtree(bench.path)


def region(bench: Bench) -> Path:
    return bench.path / "state/ami-factory/region"


def images(bench: Bench) -> list[Any]:
    status = control.start(region(bench))
    found = client("ec2", status.endpoint_url).describe_images(Owners=["self"])["Images"]
    return [each for each in found if each["State"] == "available"]


def objects(bench: Bench) -> dict[str, int]:
    return {each.parent.name: each.stat().st_ino for each in (bench.store / "objects").glob("*/*/object.json")}


def left(bench: Bench) -> list[str]:
    return [each for each in mentions(bench.path) if DAEMON not in each]


def wait_for_stage(builder: "subprocess.Popen[str]", stage: str) -> None:
    assert builder.stderr is not None
    for line in builder.stderr:
        if re.match(rf"{stage}\S* +run ", line):
            return
    raise AssertionError(f"{stage} did not run")


def test_sigkill_along_the_chain(chain: Bench) -> None:
    seed = time.time()
    print(f"seed {seed}")
    random.seed(seed)
    kept: dict[str, int] = objects(chain)
    for seconds in (random.uniform(0.5, 6) for _ in range(6)):
        print(f"killed after {seconds:.2f} s")
        builder = chain.start("build", chain.recipe)
        time.sleep(seconds)
        started = [each for each in descendants(builder.pid) if DAEMON not in _command(each)]
        builder.kill()
        builder.communicate()
        wait_for(lambda started=started: not alive(started), 10)
        wait_for(lambda: not left(chain), 10)
        assert chain.halves() == []
        now = objects(chain)
        remote = {each for each in kept if "upload" in _stage(chain, each) or "register" in _stage(chain, each)}
        assert {k: v for k, v in kept.items() if k not in remote} == {k: now.get(k) for k in kept if k not in remote}
        kept = now
        assert len(images(chain)) <= 1
    done = chain.run("build", chain.recipe)
    assert done.returncode == 0
    assert [each["ImageId"] for each in images(chain)] == done.stdout.split()
    assert (chain.workspaces(), left(chain)) == ([], [])


@pytest.mark.parametrize("stage", ["image", "verify", "bundle", "upload"])
def test_interrupted_at(chain: Bench, stage: str) -> None:
    builder = chain.start("build", chain.recipe)
    wait_for_stage(builder, stage)
    time.sleep(random.uniform(0.2, 0.6))
    started = [each for each in descendants(builder.pid) if DAEMON not in _command(each)]
    took, err = interrupt(builder, signal.SIGINT)
    assert (builder.returncode, took < 2) == (130, True), (took, err)
    assert (alive(started), chain.workspaces(), left(chain), chain.halves()) == ([], [], [], [])


@pytest.mark.parametrize("stage", ["sources", "repository"])
def test_interrupted_from_the_start(chain: Bench, stage: str) -> None:
    """While the archive is asked, and while packages are repacked, for a recipe that was never locked."""
    chain.recipe.with_suffix(".lock").unlink()
    shutil.rmtree(chain.store)
    builder = chain.start("build", chain.recipe)
    wait_for(lambda: chain.says("apt-get" if stage == "sources" else "rpmbuild"), 60)
    started = [each for each in descendants(builder.pid) if DAEMON not in _command(each)]
    took, err = interrupt(builder, signal.SIGINT)
    assert (builder.returncode, took < 2) == (130, True), (took, err)
    assert (alive(started), chain.workspaces(), left(chain), chain.halves()) == ([], [], [], [])


@pytest.mark.parametrize("stage", ["upload", "register"])
def test_the_region_dies(chain: Bench, stage: str) -> None:
    assert chain.run("build", chain.recipe, "--until", "bundle").returncode == 0
    builder = chain.start("build", chain.recipe)
    wait_for_stage(builder, stage)
    status = control.status(region(chain))
    if status is not None:
        os.kill(status.pid, signal.SIGKILL)
    _, err = builder.communicate(timeout=60)
    assert builder.returncode in (0, 4), err  # it may have been done already
    assert "Traceback" not in err
    done = chain.run("build", chain.recipe)
    assert done.returncode == 0
    assert [each["ImageId"] for each in images(chain)] == done.stdout.split()
    assert (chain.workspaces(), left(chain)) == ([], [])


def test_two_builds_make_one_ami(chain: Bench) -> None:
    both = [chain.start("build", chain.recipe) for _ in range(2)]
    ended = [each.communicate(timeout=300) for each in both]
    assert [each.returncode for each in both] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    assert [each["ImageId"] for each in images(chain)] == ended[0][0].split()
    ran = [line.split()[0] for _, err in ended for line in err.splitlines() if re.match(r"\S+ +done ", line)]
    assert sorted(ran) == ["bundle", "image", "register", "upload", "verify"]


def test_no_key_is_written_down(warm: Bench) -> None:
    """Not the one that signs bundles, and not the one that signed the repository."""
    state = warm.path / "state/ami-factory"
    files = [path for path in state.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert {path.parent.name for path in files} >= {"identity", "signing"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    lines = {line for path in files for line in path.read_bytes().splitlines() if len(line) > 60}
    written = [path for path in warm.store.rglob("*") if path.is_file() and path.suffix in (".log", ".job", ".json")]
    assert len(written) > 10
    for path in written:
        text = path.read_bytes()
        assert not any(line in text for line in lines), path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the network away")
def test_without_network(chain: Bench) -> None:
    """What is in the caches is enough; without them it is one error."""
    chain.prefix = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    shutil.rmtree(chain.store)
    assert chain.run("build", chain.recipe, "--until", "packages").returncode == 0
    chain.recipe.with_suffix(".lock").unlink()
    shutil.rmtree(chain.path / "cache")
    done = chain.run("build", chain.recipe, "--until", "packages")
    assert done.returncode == 3
    assert "error: sources: the Debian archive cannot be reached" in done.stderr
    assert "hint: check the network" in done.stderr


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _stage(bench: Bench, key: str) -> str:
    found = re.search(r'"stage": "(\w+)"', (bench.store / "objects" / key[:2] / key / "object.json").read_text())
    return found[1] if found else ""
