import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.stub import Stubber
from urllib3 import HTTPResponse

from builder.cloud import session
from builder.cloud.buckets import delete_empty, ensure_bucket, readable_acl, region_of_location
from builder.cloud.s3 import Bucket
from builder.errors import RegionError
from builder.formats.bucket_policy import granting
from builder.stages.contract import Surroundings

Stubbed = Callable[..., tuple[BaseClient, Stubber]]
OURS = {"Bucket": "images", "ExpectedBucketOwner": "123456789012"}
EC2 = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"


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
    stub.add_client_error("list_objects_v2", "AccessDenied", expected_params={**OURS, "MaxKeys": 0})
    with pytest.raises(RegionError, match="the bucket images is not yours to use") as caught:
        ensure_bucket(bucket(client))
    assert caught.value.hint.startswith("allow s3:ListBucket if it is yours")
    stub.add_client_error("head_bucket", "404", expected_params=OURS, http_status_code=404)
    stub.add_client_error("create_bucket", "BucketAlreadyExists", expected_params=ANY_CREATE)
    with pytest.raises(RegionError, match="the bucket images belongs to somebody else"):
        ensure_bucket(bucket(client))


@pytest.mark.parametrize(
    ("status", "code", "brief"),
    [
        ("403", "SignatureDoesNotMatch", "the region does not accept your credentials"),
        ("403", "RequestTimeTooSkewed", "this machine's clock is wrong"),
        ("400", "ExpiredToken", "your credentials have expired"),
        ("503", "SlowDown", "the region is throttling requests, many tries long"),
    ],
)
def test_why_head_was_refused(stubbed: Stubbed, status: str, code: str, brief: str) -> None:
    """The answer to HEAD has no body: the reason is asked for."""
    client, stub = stubbed("s3", "us-east-1")
    stub.add_client_error("head_bucket", status, expected_params=OURS, http_status_code=int(status))
    stub.add_client_error("list_objects_v2", code, expected_params={**OURS, "MaxKeys": 0})
    with pytest.raises(RegionError) as caught:
        ensure_bucket(bucket(client))
    assert caught.value.brief == f"the bucket images: {brief}"


def test_a_region_that_may_not_be_asked_for(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3", "us-east-1")
    for code in ("AccessDenied", "NotImplemented"):
        stub.add_response("head_bucket", {}, OURS)
        stub.add_client_error("get_bucket_location", code, expected_params=OURS)
        assert ensure_bucket(bucket(client)) is False


def test_a_region_that_cannot_be_asked_for(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3", "us-east-1")
    stub.add_response("head_bucket", {}, OURS)
    stub.add_client_error("get_bucket_location", "InternalError", expected_params=OURS)
    with pytest.raises(RegionError, match="the bucket images: GetBucketLocation was refused: InternalError"):
        ensure_bucket(bucket(client))


ANY_CREATE = {"Bucket": "images", "ObjectOwnership": "ObjectWriter"}


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "OperationAborted"])
def test_another_builder_made_it_meanwhile(stubbed: Stubbed, code: str) -> None:
    client, stub = stubbed("s3", "us-east-1")
    stub.add_client_error("head_bucket", "404", expected_params=OURS, http_status_code=404)
    stub.add_client_error("create_bucket", code, expected_params=ANY_CREATE)
    assert ensure_bucket(bucket(client)) is False


@pytest.mark.parametrize(
    ("constraint", "region"),
    [(None, "us-east-1"), ("", "us-east-1"), ("US", "us-east-1"), ("EU", "eu-west-1"), ("sa-east-1", "sa-east-1")],
)
def test_region_of_location(constraint: str | None, region: str) -> None:
    assert region_of_location(constraint) == region


def encrypted(stub: Stubber, algorithm: str | None) -> None:
    if algorithm is None:
        stub.add_client_error("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError")
        return
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
    stub.add_response("get_bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}, OURS)


def owned(stub: Stubber, ownership: str | None) -> None:
    if ownership is None:
        stub.add_client_error("get_bucket_ownership_controls", "OwnershipControlsNotFoundError", expected_params=OURS)
        return
    controls = {"OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}}
    stub.add_response("get_bucket_ownership_controls", controls, OURS)


@pytest.mark.parametrize("algorithm", [None, "AES256"])
@pytest.mark.parametrize("ownership", [None, "ObjectWriter", "BucketOwnerPreferred"])
def test_a_bucket_that_takes_acls(stubbed: Stubbed, algorithm: str | None, ownership: str | None) -> None:
    client, stub = stubbed("s3")
    encrypted(stub, algorithm)
    owned(stub, ownership)
    assert readable_acl(bucket(client), "web", "aws-exec-read") == "aws-exec-read"


def test_settings_that_may_not_be_seen_stop_nothing(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_client_error("get_bucket_encryption", "AccessDenied", http_status_code=403)
    stub.add_client_error("get_bucket_ownership_controls", "AccessDenied", http_status_code=403)
    stub.add_client_error("get_public_access_block", "AccessDenied", http_status_code=403)
    assert readable_acl(bucket(client), "web", "public-read") == "public-read"


@pytest.mark.parametrize("algorithm", ["aws:kms", "aws:kms:dsse"])
@pytest.mark.parametrize("acl", ["aws-exec-read", None])
def test_a_bucket_that_encrypts_with_kms(stubbed: Stubbed, algorithm: str, acl: str | None) -> None:
    client, stub = stubbed("s3")
    encrypted(stub, algorithm)
    with pytest.raises(RegionError, match="the bucket images encrypts with a key of KMS") as caught:
        readable_acl(bucket(client), "web", acl)
    assert "aws s3api put-bucket-encryption --bucket images" in caught.value.hint


def test_a_bucket_without_acls_whose_policy_lets_ec2_read(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    for policy in (granting("images", "web", EC2), granting("images", "", EC2)):
        encrypted(stub, "AES256")
        owned(stub, "BucketOwnerEnforced")
        stub.add_response("get_bucket_policy", {"Policy": policy}, OURS)
        assert readable_acl(bucket(client), "web", "aws-exec-read") is None


@pytest.mark.parametrize(
    "policy", [None, "no JSON", granting("images", "other", EC2), granting("images", "web", "0" * 64)]
)
def test_a_bucket_without_acls(stubbed: Stubbed, policy: str | None) -> None:
    client, stub = stubbed("s3")
    encrypted(stub, "AES256")
    owned(stub, "BucketOwnerEnforced")
    if policy is None:
        stub.add_client_error("get_bucket_policy", "NoSuchBucketPolicy", expected_params=OURS)
    else:
        stub.add_response("get_bucket_policy", {"Policy": policy}, OURS)
    with pytest.raises(
        RegionError, match="the bucket images does not allow ACLs, so EC2 could not read the bundle"
    ) as caught:
        readable_acl(bucket(client), "web", "aws-exec-read")
    assert "put-bucket-ownership-controls --bucket images" in caught.value.hint
    assert f"put-bucket-policy --bucket images --policy '{granting('images', 'web', EC2)}'" in caught.value.detail


@pytest.mark.parametrize(
    ("block", "refused"),
    [
        ({"BlockPublicAcls": True, "IgnorePublicAcls": False}, True),
        ({"BlockPublicAcls": False, "IgnorePublicAcls": True}, True),
        ({"BlockPublicPolicy": True, "RestrictPublicBuckets": True}, False),
        ({}, False),
    ],
)
def test_public_read_where_that_is_blocked(stubbed: Stubbed, block: dict[str, bool], refused: bool) -> None:
    client, stub = stubbed("s3")
    encrypted(stub, "AES256")
    owned(stub, "ObjectWriter")
    stub.add_response("get_public_access_block", {"PublicAccessBlockConfiguration": block}, OURS)
    if not refused:
        assert readable_acl(bucket(client), "web", "public-read") == "public-read"
        return
    with pytest.raises(RegionError, match="blocks public access") as caught:
        readable_acl(bucket(client), "web", "public-read")
    assert caught.value.hint.startswith("use the ACL aws-exec-read")


def test_only_an_empty_bucket_is_removed(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_response("delete_bucket", {}, OURS)
    stub.add_client_error("delete_bucket", "BucketNotEmpty", http_status_code=409)
    assert (delete_empty(bucket(client)), delete_empty(bucket(client))) == (True, False)


def test_a_name_with_dots_goes_into_the_path(tmp_path: Path) -> None:
    """AWS's certificate is for one label before s3.REGION.amazonaws.com."""
    of_aws = Surroundings(state=tmp_path, cache=tmp_path, trees=tmp_path)
    client = session.client("s3", of_aws, "eu-west-1", credentials=session.Credentials(key="AK", secret="none"))
    asked: list[str] = []

    def answer(request: Any, **_: object) -> AWSResponse:
        asked.append(request.url)
        answered = HTTPResponse(io.BytesIO(), status=200, preload_content=False)
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict({"x-amz-bucket-region": "eu-west-1"}), answered)

    client.meta.events.register("before-send.s3.HeadBucket", answer)
    for name in ("plain", "with.dots"):
        assert ensure_bucket(Bucket(client=client, name=name)) is False
    assert asked == ["https://plain.s3.eu-west-1.amazonaws.com/", "https://s3.eu-west-1.amazonaws.com/with.dots"]
