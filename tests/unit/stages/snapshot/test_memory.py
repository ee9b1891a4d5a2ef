"""Memory of the stage for a volume of 100 GiB that is full of data: all of it but the bytes on the wire."""

import pytest

from tests.bench import jobs

MOST = 200 << 20


@pytest.mark.slow
def test_lists_of_100_gib() -> None:
    """A second image on top of a parent, and an upload that is gone on with almost at its end."""
    told, _ = jobs.job("tests.support.large_snapshot", "100")
    memory = told.pop("memory")
    assert told == {"second": 2000, "resumed": 2000, "kept": 202800}
    assert memory <= MOST, f"{memory >> 20} MiB"
