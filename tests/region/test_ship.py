"""`region ship`, whole: the web server's recipe as an AMI of amazon's that everybody may launch.

Minutes, and the host's Debian archive: run by `make test-full`.
"""

from collections.abc import Iterator

import pytest

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.region import control
from tests.support.regions import client
from tests.support.shipped import shipped
from tests.support.tiny import Bench

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with shipped("web-server", "quickstart", room="ship", patience=1800.0) as made:
        yield made


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
