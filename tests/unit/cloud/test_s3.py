import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.stub import ANY, Stubber

from builder.cloud.s3 import Bucket, ensure_bucket, holds, holds_all, put, sizes
from builder.errors import RegionError

Stubbed = Callable[..., tuple[BaseClient, Stubber]]
OURS = {"Bucket": "images", "ExpectedBucketOwner": "123456789012"}
CONTENT = b"part"
SHA1 = hashlib.sha1(CONTENT).hexdigest()
CHECKSUM = base64.b64encode(hashlib.sha1(CONTENT).digest()).decode()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part"
    path.write_bytes(CONTENT)
    return path


def bucket(client: BaseClient) -> Bucket:
    return Bucket(client=client, name="images", account="123456789012")


@pytest.mark.parametrize(
    ("region", "located", "constraint"),
    [
        pytest.param("us-east-1", {"BucketRegion": "us-east-1"}, None, id="told"),
        pytest.param("us-east-1", {}, "", id="us-east-1-is-empty"),
        pytest.param("eu-west-1", {}, "EU", id="eu-west-1-was-EU"),
        pytest.param("eu-central-1", {}, "eu-central-1", id="by-name"),
    ],
)
def test_a_bucket_that_is_there(stubbed: Stubbed, region: str, located: dict[str, Any], constraint: str | None) -> None:
    client, stub = stubbed("s3", region)
    stub.add_response("head_bucket", located, OURS)
    if constraint is not None:
        stub.add_response("get_bucket_location", {"LocationConstraint": constraint}, OURS)
    assert ensure_bucket(bucket(client)) is False


@pytest.mark.parametrize(
    ("region", "more"),
    [
        pytest.param("us-east-1", {}, id="us-east-1-is-never-named"),
        pytest.param("local", {}, id="local"),
        pytest.param(
            "eu-west-1", {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}, id="elsewhere-it-is"
        ),
    ],
)
def test_a_bucket_is_made(stubbed: Stubbed, region: str, more: dict[str, Any]) -> None:
    client, stub = stubbed("s3", region)
    stub.add_client_error("head_bucket", "404", expected_params=OURS, http_status_code=404)
    stub.add_response("create_bucket", {}, {"Bucket": "images", "ObjectOwnership": "ObjectWriter", **more})
    assert ensure_bucket(bucket(client)) is True


def test_a_bucket_in_another_region(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3", "us-east-1")
    stub.add_response("head_bucket", {"BucketRegion": "eu-west-1"}, OURS)
    stub.add_client_error(
        "head_bucket",
        "301",
        http_status_code=301,
        response_meta={"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}},
        expected_params=OURS,
    )
    for _ in range(2):
        with pytest.raises(RegionError, match="the bucket images is in eu-west-1, the AMI is for us-east-1"):
            ensure_bucket(bucket(client))


def test_a_bucket_of_somebody_else(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3", "us-east-1")
    stub.add_client_error("head_bucket", "403", expected_params=OURS, http_status_code=403)
    with pytest.raises(RegionError, match="the bucket images is not yours to use") as caught:
        ensure_bucket(bucket(client))
    assert caught.value.hint.startswith("allow s3:ListBucket if it is yours")
    stub.add_client_error("head_bucket", "404", expected_params=OURS, http_status_code=404)
    stub.add_client_error("create_bucket", "BucketAlreadyExists", expected_params=ANY_CREATE)
    with pytest.raises(RegionError, match="the bucket images belongs to somebody else"):
        ensure_bucket(bucket(client))


ANY_CREATE = {"Bucket": "images", "ObjectOwnership": "ObjectWriter"}


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "OperationAborted"])
def test_another_builder_made_it_meanwhile(stubbed: Stubbed, code: str) -> None:
    client, stub = stubbed("s3", "us-east-1")
    stub.add_client_error("head_bucket", "404", expected_params=OURS, http_status_code=404)
    stub.add_client_error("create_bucket", code, expected_params=ANY_CREATE)
    assert ensure_bucket(bucket(client)) is False


def test_sizes_of_several_pages(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    first = {"Contents": [{"Key": "p/1", "Size": 1}], "IsTruncated": True, "NextContinuationToken": "more"}
    stub.add_response("list_objects_v2", first, {**OURS, "Prefix": "p/"})
    second = {"Contents": [{"Key": "p/2", "Size": 2}], "IsTruncated": False}
    stub.add_response("list_objects_v2", second, {**OURS, "Prefix": "p/", "ContinuationToken": "more"})
    assert sizes(bucket(client), "p/") == {"p/1": 1, "p/2": 2}


@pytest.mark.parametrize(
    ("head", "same"),
    [
        pytest.param({"ChecksumSHA1": CHECKSUM}, True, id="checksum"),
        pytest.param({"ChecksumSHA1": CHECKSUM[::-1], "ETag": f'"{MD5}"'}, False, id="other-checksum"),
        pytest.param({"ETag": f'"{MD5}"'}, True, id="etag"),
        pytest.param({"ETag": f'"{MD5[::-1]}"'}, False, id="other-etag"),
        pytest.param({"ETag": f'"{MD5}"', "ServerSideEncryption": "AES256"}, True, id="s3-encryption"),
        pytest.param({"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms"}, False, id="kms-etag-is-no-md5"),
        pytest.param({"ETag": f'"{MD5}-2"'}, False, id="multipart-etag-is-no-md5"),
        pytest.param({"ServerSideEncryption": "aws:kms", "ChecksumSHA1": CHECKSUM}, True, id="kms-with-checksum"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_holds(stubbed: Stubbed, part: Path, head: dict[str, str], same: bool) -> None:
    client, stub = stubbed("s3")
    stub.add_response("head_object", head, {**OURS, "Key": "k", "ChecksumMode": "ENABLED"})
    assert holds(bucket(client), "k", SHA1, part) is same


def test_put(stubbed: Stubbed, part: Path) -> None:
    client, stub = stubbed("s3")
    request = {
        **OURS, "Key": "k", "Body": ANY, "ACL": "aws-exec-read", "ContentType": "x/y", "ChecksumSHA1": CHECKSUM
    }  # fmt: skip
    stub.add_response("put_object", {}, request)
    put(bucket(client), "k", part, sha1=SHA1, acl="aws-exec-read", content_type="x/y")
    stub.add_client_error("put_object", "AccessControlListNotSupported", expected_params=request)
    with pytest.raises(RegionError, match="does not allow ACLs, so EC2 could not read the bundle") as caught:
        put(bucket(client), "k", part, sha1=SHA1, acl="aws-exec-read", content_type="x/y")
    assert "put-bucket-ownership-controls --bucket images" in caught.value.hint


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
