"""Debian as a pv and as an HVM image, built twice from one lock, and booted: minutes, and Debian's archive."""

import json
from collections.abc import Iterator

import pytest

from tests.support.shipped import DOWNLOADED, SAVED_HOST, shipped
from tests.support.tiny import Bench

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.xdist_group("qemu")]

VARIANTS = (
    pytest.param("m1.small", "pv", "login", id="pv, under Xen"),
    pytest.param("t3.micro", "hvm", "direct", id="hvm, by SeaBIOS"),
)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with shipped("debian", room="debian", patience=1800.0, caches=(*DOWNLOADED, SAVED_HOST)) as made:
        assert made.run("lock", made.recipe).returncode == 0
        yield made


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
