"""What a real region cannot be made to answer; the rest is in tests/region/bundles_s3."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from builder.bundles.s3_parts import S3Sink, below, key_of
from builder.cloud import session
from builder.cloud.s3 import Bucket
from builder.errors import RegionError
from builder.formats.bundle_stream import PartDigest
from tests.support.stubs import stubbed_client

DIGEST = PartDigest(length=4, sha1=hashlib.sha1(b"part").hexdigest())


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[BaseClient, Stubber]]:
    monkeypatch.setattr(session, "POOL", 1)  # the stub answers in one order only
    for make in stubbed_client(tmp_path):
        yield make("s3", "us-east-1")


def test_keys() -> None:
    assert (key_of("a/b", "part"), key_of("", "part"), below("a"), below("")) == ("a/b/part", "part", "a/", "")


def fill(sink: S3Sink) -> None:
    sink.write(0, memoryview(b"pa"))
    sink.write(0, memoryview(b"rt"))
    sink.end(0, DIGEST)


def test_what_cannot_be_taken_back_is_told(s3: tuple[BaseClient, Stubber]) -> None:
    client, stub = s3
    stub.add_response("put_object", {})
    stub.add_response("delete_objects", {"Errors": [{"Key": "web/p.0", "Code": "AccessDenied"}]})
    notes: list[str] = []
    with S3Sink(Bucket(client=client, name="images"), "web", ["p.0"], note=notes.append) as sink:
        fill(sink)
    assert notes == ["parts are left below s3://images/web/: s3://images: 1 of 1 objects could not be removed"]


def test_nothing_was_sent_and_nothing_is_told(s3: tuple[BaseClient, Stubber]) -> None:
    client, _ = s3
    notes: list[str] = []
    with S3Sink(Bucket(client=client, name="images"), "web", ["p.0"], note=notes.append) as sink:
        sink.write(0, memoryview(b"pa"))
    assert notes == []


def test_a_bucket_without_acls_whose_settings_were_hidden(s3: tuple[BaseClient, Stubber]) -> None:
    client, stub = s3
    stub.add_client_error("put_object", "AccessControlListNotSupported")
    stub.add_response("delete_objects", {})
    with (
        pytest.raises(RegionError, match="the bucket images does not allow ACLs") as caught,
        S3Sink(Bucket(client=client, name="images"), "web", ["p.0"]) as sink,
    ):
        fill(sink)
        sink.keep("p.manifest.xml", b"manifest")
    assert "put-bucket-ownership-controls" in caught.value.hint


@pytest.mark.parametrize("same", [True, False])
def test_what_came_meanwhile(s3: tuple[BaseClient, Stubber], same: bool) -> None:
    """The answer to our own try may have been lost; somebody else's part stays where it is."""
    client, stub = s3
    stub.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
    checksum = "Cg/zOWzyxOfGnxtcOxkYUDXmEFo=" if same else "2jmj7l5rSw0yVb/vlWAYkK/YBwk="
    stub.add_response("head_object", {"ContentLength": 4, "ChecksumSHA1": checksum})
    digest = PartDigest(length=4, sha1="0a0ff3396cf2c4e7c69f1b5c3b19185035e6105a")
    notes: list[str] = []
    with S3Sink(Bucket(client=client, name="images"), "web", ["p.0"], note=notes.append) as sink:
        sink.write(0, memoryview(b"part"))
        sink.end(0, digest)
        if same:
            stub.add_response("put_object", {})
            assert sink.keep("p.manifest.xml", b"manifest") == "web/p.manifest.xml"
        else:
            with pytest.raises(RegionError, match="another bundle is being put below s3://images/web/"):
                sink.keep("p.manifest.xml", b"manifest")
    assert notes == []
