"""One local region for each worker; each test has a bucket of its own in it."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.region.control import Status
from builder.region.identity import identity
from tests.support.bundles import TestBundle, make_bundle
from tests.support.regions import client, running


@pytest.fixture(scope="session")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Status]:
    with running(tmp_path_factory.mktemp("region")) as status:
        yield status


@pytest.fixture(scope="session")
def s3(region: Status) -> Any:
    return client("s3", region.endpoint_url)


@pytest.fixture(scope="session")
def ec2(region: Status) -> Any:
    return client("ec2", region.endpoint_url)


@pytest.fixture
def bucket(s3: Any) -> str:
    """A bucket that allows access control lists, as bundles need it."""
    name = f"test-{secrets.token_hex(8)}"
    s3.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred")
    return name


@pytest.fixture(scope="session")
def bundle(region: Status, tmp_path_factory: pytest.TempPathFactory) -> TestBundle:
    certificate = identity(region.directory).certificate
    return make_bundle(tmp_path_factory.mktemp("bundle"), certificate, part_size=256, content=bytes(range(256)) * 8)


@pytest.fixture
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")
