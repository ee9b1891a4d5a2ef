"""`region ship`, whole: the web server's recipe as an AMI of amazon's that everybody may launch.

Minutes, and the host's Debian archive: run by `make test-full`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.host.directories import cache_directory
from builder.region import control
from tests.support.regions import client
from tests.support.tiny import ROOT, Bench

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(path=Path(tempfile.mkdtemp(prefix="ami-factory-ship-")), name="web-server", patience=1800.0)
    (bench.path / "recipes").mkdir()
    for name in ("web-server", "quickstart"):
        shutil.copy(ROOT / f"recipes/{name}.toml", bench.path / "recipes")
    for each in ("debs", "apt", "appliance"):  # what this machine has downloaded and made before
        if (cache_directory() / each).is_dir():
            shutil.copytree(cache_directory() / each, bench.path / "cache/ami-factory" / each, symlinks=True)
    yield bench
    control.stop(bench.path / "state/ami-factory/region")
    shutil.rmtree(bench.path)


def test_ship(bench: Bench) -> None:
    first = bench.run("region", "ship", bench.recipe)
    assert first.returncode == 0, first.stderr
    endpoint = control.start(bench.path / "state/ami-factory/region").endpoint_url
    images = client("ec2", endpoint).describe_images(
        Owners=[AMAZON], Filters=[{"Name": "image-type", "Values": ["machine"]}]
    )["Images"]
    assert [(each["ImageId"], each["OwnerId"], each["Public"]) for each in images] == [
        (first.stdout.strip(), AMAZON_ACCOUNT, True)
    ]
    again = bench.run("region", "ship", bench.recipe)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "nothing to do" in again.stderr
