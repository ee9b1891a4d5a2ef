"""What S3 says of a bucket and its objects, and what stays unknown."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from builder.cloud.s3 import Bucket
from builder.cloud.s3_look import BucketFacts, ObjectFacts, look_at_bucket, look_at_objects
from builder.errors import RegionError

Stubbed = Callable[..., tuple[BaseClient, Stubber]]
OURS = {"Bucket": "images"}
QUESTIONS = ("get_bucket_ownership_controls", "get_public_access_block", "get_bucket_policy")
HEAD = {**OURS, "Key": "k", "ChecksumMode": "ENABLED"}


def bucket(client: BaseClient) -> Bucket:
    return Bucket(client=client, name="images")


def test_a_bucket(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_response("head_bucket", {"BucketRegion": "eu-west-1"}, OURS)
    stub.add_response(
        QUESTIONS[0], {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}, OURS
    )
    block = {"IgnorePublicAcls": True, "RestrictPublicBuckets": False}
    stub.add_response(QUESTIONS[1], {"PublicAccessBlockConfiguration": block}, OURS)
    stub.add_response(QUESTIONS[2], {"Policy": "{}"}, OURS)
    assert look_at_bucket(bucket(client)) == BucketFacts(
        region="eu-west-1",
        partition="aws",
        ownership="BucketOwnerEnforced",
        ignores_public=True,
        restricts_public=False,
        policy="{}",
    )


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param(
            (
                "OwnershipControlsNotFoundError",
                "NoSuchPublicAccessBlockConfiguration",
                "NoSuchBucketPolicy",
            ),
            ("", False, False, ""),
            id="nothing-is-set",
        ),
        pytest.param(("AccessDenied",) * 3, (None,) * 4, id="no-right-to-know"),
        pytest.param(("NotImplemented",) * 3, (None,) * 4, id="an-endpoint-that-does-not-know"),
    ],
)
def test_what_is_not_there_or_not_told(codes: tuple[str, ...], expected: tuple[Any, ...], stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_response("head_bucket", {"BucketRegion": "us-east-1"}, OURS)
    for question, code in zip(QUESTIONS, codes, strict=True):
        stub.add_client_error(question, code, expected_params=OURS)
    facts = look_at_bucket(bucket(client))
    assert (facts.ownership, facts.ignores_public, facts.restricts_public, facts.policy) == expected


def test_the_region_of_a_bucket_that_may_not_be_looked_at(stubbed: Stubbed) -> None:
    """The refusal itself names it."""
    client, stub = stubbed("s3")
    stub.add_client_error(
        "head_bucket", "403", expected_params=OURS, http_status_code=403,
        response_meta={"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}},
    )  # fmt: skip
    for question in QUESTIONS:
        stub.add_client_error(question, "AccessDenied", expected_params=OURS)
    assert look_at_bucket(bucket(client)).region == "eu-west-1"


@pytest.mark.parametrize(("constraint", "region"), [("", "us-east-1"), ("EU", "eu-west-1")])
def test_the_region_by_its_old_words(constraint: str, region: str, stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_response("head_bucket", {}, OURS)
    stub.add_response("get_bucket_location", {"LocationConstraint": constraint}, OURS)
    for question in QUESTIONS:
        stub.add_client_error(question, "AccessDenied", expected_params=OURS)
    assert look_at_bucket(bucket(client)).region == region


def test_no_bucket(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_client_error("head_bucket", "404", expected_params=OURS, http_status_code=404)
    with pytest.raises(RegionError, match="the bucket images"):
        look_at_bucket(bucket(client))


PLAIN = ObjectFacts(key="k", size=5, sha1="", encryption="", archived="", grants=(("me", "FULL_CONTROL"),))
OWNER = {"Grants": [{"Grantee": {"ID": "me", "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}]}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param({}, {}, id="plain"),
        pytest.param({"ChecksumSHA1": "ERERERERERERERERERERERERERE="}, {"sha1": "11" * 20}, id="sha1"),
        pytest.param({"ChecksumSHA1": "abc-2"}, {}, id="of-several-pieces"),
        pytest.param({"ServerSideEncryption": "aws:kms"}, {"encryption": "aws:kms"}, id="kms"),
        pytest.param({"StorageClass": "DEEP_ARCHIVE"}, {"archived": "DEEP_ARCHIVE"}, id="archived"),
        pytest.param({"StorageClass": "STANDARD_IA"}, {}, id="not-archived"),
    ],
)
def test_objects(head: dict[str, Any], expected: dict[str, Any], stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_response("head_object", {"ContentLength": 5, **head}, HEAD)
    stub.add_response("get_object_acl", OWNER, {**OURS, "Key": "k"})
    assert list(look_at_objects(bucket(client), ["k"])) == [replace(PLAIN, **expected)]


def test_groups_and_lists_that_may_not_be_seen(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    everybody = "http://acs.amazonaws.com/groups/global/AllUsers"
    grant = {"Grantee": {"URI": everybody, "Type": "Group"}, "Permission": "READ"}
    stub.add_response("head_object", {"ContentLength": 5}, HEAD)
    stub.add_response("get_object_acl", {"Grants": [grant]}, {**OURS, "Key": "k"})
    assert [each.grants for each in look_at_objects(bucket(client), ["k"])] == [((everybody, "READ"),)]
    stub.add_response("head_object", {"ContentLength": 5}, HEAD)
    stub.add_client_error("get_object_acl", "AccessDenied", expected_params={**OURS, "Key": "k"})
    assert [each.grants for each in look_at_objects(bucket(client), ["k"])] == [None]


def test_an_object_that_is_not_there(stubbed: Stubbed) -> None:
    client, stub = stubbed("s3")
    stub.add_client_error("head_object", "404", expected_params=HEAD, http_status_code=404)
    assert list(look_at_objects(bucket(client), ["k"])) == []
