"""A bundle, a bucket that allows access lists, and a link to it that may be bad."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cloud.s3 import Bucket
from builder.region.control import Status
from builder.region.identity import identity
from tests.support.bundles import TestBundle, make_bundle
from tests.support.links import Link, link
from tests.support.moved import ACCOUNT, client_of, laid_out


@pytest.fixture(scope="session")
def bundle(region: Status, tmp_path_factory: pytest.TempPathFactory) -> TestBundle:
    """Of some twenty parts of 256 bytes."""
    made = make_bundle(
        tmp_path_factory.mktemp("bundle"),
        identity(region.directory).certificate,
        part_size=256,
        content=secrets.token_bytes(5000),
    )
    assert len(made.parts) > 20
    return made


@pytest.fixture
def images(region: Status, bucket: str, tmp_path: Path) -> Bucket:
    return Bucket(client=client_of(region.endpoint_url, tmp_path), name=bucket, account=ACCOUNT)


@pytest.fixture
def bad(region: Status) -> Iterator[Link]:
    with link(region.endpoint_url) as made:
        yield made


@pytest.fixture
def over(images: Bucket, bad: Link, tmp_path: Path) -> Bucket:
    """The same bucket over the bad link."""
    return replace(images, client=client_of(bad.url, tmp_path))


@pytest.fixture
def local(tmp_path: Path, bundle: TestBundle) -> Path:
    """The manifest of the bundle in a directory."""
    return laid_out(tmp_path / "local", bundle.files(), bundle.manifest_name)
