"""Debian as a pv and as an HVM image, built twice from one lock, and booted: minutes, and Debian's archive."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.host.directories import cache_directory
from builder.host.namespace import remove_tree
from builder.region import control
from tests.support.tiny import ROOT, Bench

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.xdist_group("qemu")]

VARIANTS = (
    pytest.param("m1.small", "pv", "login", id="pv, under Xen"),
    pytest.param("t3.micro", "hvm", "direct", id="hvm, by SeaBIOS"),
)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(path=Path(tempfile.mkdtemp(prefix="ami-factory-debian-")), name="debian", patience=1800.0)
    (made.path / "recipes").mkdir()
    shutil.copy(ROOT / "recipes/debian.toml", made.recipe)
    for each in ("debs", "apt", "appliance", "machine"):  # what this machine has downloaded and made before
        if (cache_directory() / each).is_dir():
            (made.path / "cache/ami-factory").mkdir(parents=True, exist_ok=True)
            copy = ["cp", "-a", "--sparse=always", cache_directory() / each, made.path / "cache/ami-factory"]
            subprocess.run(copy, check=True)
    assert made.run("lock", made.recipe).returncode == 0
    yield made
    control.stop(made.path / "state/ami-factory/region")
    remove_tree(made.path)


@pytest.mark.parametrize(("kind", "virtualization", "level"), VARIANTS)
def test_built_booted_registered(bench: Bench, kind: str, virtualization: str, level: str) -> None:
    chosen = ("--instance-type", kind, "--virtualization", virtualization)
    done = bench.run("build", bench.recipe, *chosen, "--boot", level, "--json")
    assert done.returncode == 0, done.stderr
    (recipe,) = json.loads(done.stdout)["recipes"]
    assert [each["label"] for each in recipe["steps"]][:5] == ["packages", "kernel", "configure", "image", "verify"]
    assert recipe["results"][0].startswith("ami-")


def test_twice_built_is_equal(bench: Bench) -> None:
    """Another store, another directory: the same tree and the same image, byte for byte."""
    digests = []
    for number in (1, 2):
        store = bench.path / f"store {number}"
        done = bench.run("build", bench.recipe, "--instance-type", "m1.small", "--until", "image", "--store", store)
        assert done.returncode == 0, done.stderr
        records = [json.loads(each.read_text()) for each in store.glob("objects/*/*/object.json")]
        digests.append(sorted(json.dumps(each["result"]["digests"]) for each in records))
    assert digests[0] == digests[1]
    assert len(digests[0]) == 4
