"""Clients whose answers are written down beside the exact requests they are for (botocore's Stubber)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from tests.support.stubs import stubbed_client


@pytest.fixture
def stubbed(tmp_path: Path) -> Iterator[Callable[[str, str], tuple[BaseClient, Stubber]]]:
    yield from stubbed_client(tmp_path)
