"""Clients whose answers are written down beside the exact requests they are for (botocore's Stubber)."""

from collections.abc import Callable, Iterator
from pathlib import Path

from botocore.client import BaseClient
from botocore.stub import Stubber

from builder.cloud import session
from builder.stages.contract import Surroundings


def surroundings(path: Path) -> Surroundings:
    """A machine whose region nobody can reach: what is not stubbed fails."""
    return Surroundings(state=path, cache=path, trees=path, endpoint_url="http://127.0.0.1:1")


def stubbed_client(path: Path) -> Iterator[Callable[[str, str], tuple[BaseClient, Stubber]]]:
    """A function that makes a client of a service in a region. At the end every written answer must have been asked."""
    stubs: list[Stubber] = []

    def make(service: str, region: str = "us-east-1") -> tuple[BaseClient, Stubber]:
        client = session.client(service, surroundings(path), region)
        stub = Stubber(client)
        stub.activate()
        stubs.append(stub)
        return client, stub

    yield make
    for stub in stubs:
        stub.assert_no_pending_responses()
