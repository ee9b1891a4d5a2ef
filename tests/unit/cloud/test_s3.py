import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from builder.cloud import s3
from builder.cloud.s3 import (
    AclsRefused,
    Bucket,
    Listed,
    Stored,
    Taken,
    delete,
    holds_all,
    listed,
    put,
    read_small,
    readers,
    stored,
)
from builder.errors import RegionError

Stubbed = Callable[..., tuple[BaseClient, Stubber]]
OURS = {"Bucket": "images", "ExpectedBucketOwner": "123456789012"}
CONTENT = b"part"
SHA1 = hashlib.sha1(CONTENT).hexdigest()
CHECKSUM = base64.b64encode(hashlib.sha1(CONTENT).digest()).decode()
MD5 = hashlib.md5(CONTENT).hexdigest()


def bucket(client: BaseClient) -> Bucket:
    return Bucket(client=client, name="images", account="123456789012")


def test_any_owner_is_not_told() -> None:
    assert Bucket(client=None, name="images").address == {"Bucket": "images"}


def test_listed_over_several_pages(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    request = {**OURS, "Prefix": "p/", "Delimiter": "/"}
    first = {"Contents": [{"Key": "p/1", "Size": 1, "ETag": "a"}], "IsTruncated": True, "NextContinuationToken": "more"}
    stub.add_response("list_objects_v2", first, request)
    second = {"Contents": [{"Key": "p/2", "Size": 2}], "CommonPrefixes": [{"Prefix": "p/q/"}], "IsTruncated": False}
    stub.add_response("list_objects_v2", second, {**request, "ContinuationToken": "more"})
    assert listed(bucket(client), "p/", deep=False) == {"p/1": Listed(size=1, etag="a"), "p/2": Listed(size=2, etag="")}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param({"ChecksumSHA1": CHECKSUM, "ETag": f'"{MD5}"'}, {"sha1": SHA1, "md5": MD5}, id="both"),
        pytest.param({"ChecksumSHA1": f"{CHECKSUM}-2", "ETag": f'"{MD5}-2"'}, {}, id="several-pieces"),
        pytest.param({"ETag": f'"{MD5}"', "ServerSideEncryption": "AES256"}, {"md5": MD5}, id="s3-encryption"),
        pytest.param(
            {"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms", "ChecksumSHA1": CHECKSUM},
            {"sha1": SHA1, "kms": True},
            id="kms-etag-is-no-md5",
        ),
        pytest.param({"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms:dsse"}, {"kms": True}, id="kms-twice"),
        pytest.param({"ETag": f'"{MD5}"', "SSECustomerAlgorithm": "AES256"}, {}, id="customer-key"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_stored(stubbed: Stubbed, head: dict[str, Any], expected: dict[str, Any]) -> None:
    client, stub = stubbed("s3")
    request = {**OURS, "Key": "k", "ChecksumMode": "ENABLED"}
    stub.add_response("head_object", {"ContentLength": 4, **head}, request)
    stub.add_client_error("head_object", "404", http_status_code=404, expected_params=request)
    assert (stored(bucket(client), "k"), stored(bucket(client), "k")) == (Stored(size=4, **expected), None)


@pytest.mark.parametrize("acl", ["aws-exec-read", None])
def test_put(stubbed: Stubbed, acl: str | None) -> None:
    client, stub = stubbed("s3")
    request = {**OURS, "Key": "k", "Body": ANY, "ContentType": "x/y", "ChecksumSHA1": CHECKSUM}
    stub.add_response("put_object", {}, request if acl is None else {**request, "ACL": acl})
    put(bucket(client), "k", CONTENT, sha1=SHA1, acl=acl, content_type="x/y")
    stub.add_client_error("put_object", "AccessControlListNotSupported")
    with pytest.raises(AclsRefused):
        put(bucket(client), "k", CONTENT, sha1=SHA1, acl=acl, content_type="x/y")


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict"])
def test_put_replaces_nothing(stubbed: Stubbed, code: str) -> None:
    client, stub = stubbed("s3")
    request = {**OURS, "Key": "k", "Body": ANY, "ContentType": "x/y", "ChecksumSHA1": CHECKSUM, "IfNoneMatch": "*"}
    stub.add_client_error("put_object", code, expected_params=request)
    with pytest.raises(Taken, match="s3://images/k is there already"):
        put(bucket(client), "k", CONTENT, sha1=SHA1, acl=None, content_type="x/y", new=True)


def test_readers(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    request = {**OURS, "Key": "k"}
    grants = [
        {"Grantee": {"Type": "CanonicalUser", "ID": "me"}, "Permission": "FULL_CONTROL"},
        {"Grantee": {"Type": "CanonicalUser", "ID": "she"}, "Permission": "WRITE_ACP"},
        {"Grantee": {"Type": "Group", "URI": "all"}, "Permission": "READ"},
    ]
    stub.add_response("get_object_acl", {"Grants": grants}, request)
    stub.add_client_error("get_object_acl", "AccessDenied", expected_params=request)
    assert (readers(bucket(client), "k"), readers(bucket(client), "k")) == ({"me", "all"}, None)


class Breaking(io.BytesIO):
    """A body whose connection breaks after its bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise ResponseStreamingError(error="IncompleteRead")
        return data


@pytest.fixture
def reading(stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Iterator[bytes]]:
    """Read 10 bytes that the connections give piece by piece, each asked for where the one before broke."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def read(*given: bytes) -> Iterator[bytes]:
        client, stub = stubbed("s3")
        at = 0
        for each in given:
            body = io.BytesIO(each) if at + len(each) == 10 else Breaking(each)
            request = {**OURS, "Key": "k", "Range": f"bytes={at + 5}-14", "IfMatch": "e"}
            stub.add_response("get_object", {"Body": StreamingBody(body, 10 - at)}, request)
            at += len(each)
        if at < 10 and len(given) < s3.TRIES:
            stub.add_client_error("get_object", "PreconditionFailed", http_status_code=412)
        return s3.read(bucket(client), "k", start=5, length=10, etag="e")

    return read


def test_read_goes_on_where_it_broke(reading: Callable[..., Iterator[bytes]]) -> None:
    assert b"".join(reading(b"012", b"", b"3456", b"789")) == b"0123456789"


def test_read_gives_up(reading: Callable[..., Iterator[bytes]]) -> None:
    with pytest.raises(RegionError, match="s3://images/k: the connection breaks again and again at byte 7"):
        list(reading(b"01", *[b""] * s3.TRIES))


def test_read_of_what_was_replaced(reading: Callable[..., Iterator[bytes]]) -> None:
    with pytest.raises(RegionError, match="s3://images/k was replaced while it was read"):
        list(reading(b"01"))


def test_read_small_reads_no_more_than_that(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    body = io.BytesIO(bytes(100))
    stub.add_response("get_object", {"Body": StreamingBody(body, 100)}, {**OURS, "Key": "k"})
    assert len(read_small(bucket(client), "k", 9)) == 10
    assert body.closed


def test_delete_tells_what_was_kept(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    keys = [f"k{number}" for number in range(1001)]
    for batch, errors in ((keys[:1000], [{"Key": "k7", "Code": "AccessDenied"}]), (keys[1000:], [])):
        request = {**OURS, "Delete": {"Objects": [{"Key": key} for key in batch], "Quiet": True}}
        stub.add_response("delete_objects", {"Errors": errors}, request)
    with pytest.raises(RegionError, match="s3://images: 1 of 1001 objects could not be removed") as caught:
        delete(bucket(client), keys)
    assert caught.value.detail == "k7: AccessDenied"


def test_holds_all(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    request = {"Bucket": "images", "Prefix": "web/1/"}
    manifest = {"Key": "web/1/m", "Size": 5}
    for contents in ([manifest, {"Key": "web/1/p", "Size": 10}], [manifest], [{"Key": "web/1/p", "Size": 15}], []):
        stub.add_response("list_objects_v2", {"Contents": contents}, request)
    for code in ("NoSuchBucket", "AccessDenied", "SlowDown"):
        stub.add_client_error("list_objects_v2", code, expected_params=request)

    def ask() -> bool:
        return holds_all(client, "images", "web/1/", "web/1/m", 15)

    assert [ask() for _ in range(6)] == [True, False, False, False, False, False]
    with pytest.raises(RegionError, match="throttling"):
        ask()
