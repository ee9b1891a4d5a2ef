"""Bucket policies, default encryption and checksums of copies, as S3 answers them."""

import hashlib
import json
import secrets
from base64 import b64encode
from typing import Any

import pytest
from botocore import UNSIGNED

from builder.region.control import Status
from tests.support.regions import client, refused

EC2 = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"


def policy(bucket: str, **change: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"CanonicalUser": EC2},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/web/*",
    }
    merged = {name: value for name, value in {**statement, **change}.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [merged]})


def test_a_policy_is_kept_as_it_was_given(s3: Any, bucket: str) -> None:
    with refused("NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=bucket)
    text = policy(bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    s3.delete_bucket_policy(Bucket=bucket)
    with refused("NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Principal": {"CanonicalUser": "za-team"}}, "MalformedPolicy"),
        ({"Resource": "arn:aws:s3:::another/*"}, "MalformedPolicy"),
        ({"Action": None}, "MalformedPolicy"),
        ({"Effect": "Perhaps"}, "MalformedPolicy"),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, "NotImplemented"),
        ({"Effect": "Deny"}, "NotImplemented"),
        ({"Principal": "*"}, "AccessDenied"),
    ],
)
def test_policies_that_are_refused(s3: Any, bucket: str, change: dict[str, Any], code: str) -> None:
    with refused(code):
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, **change))
    with refused("NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=bucket)


def test_what_is_no_policy(s3: Any, bucket: str) -> None:
    with refused("MalformedPolicy"):
        s3.put_bucket_policy(Bucket=bucket, Policy="no JSON")


def test_a_public_policy_lets_strangers_read(region: Status, s3: Any, bucket: str) -> None:
    nobody = client("s3", region.endpoint_url, signature_version=UNSIGNED)
    s3.put_object(Bucket=bucket, Key="web/k", Body=b"open")
    s3.put_object(Bucket=bucket, Key="k", Body=b"shut")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, Principal="*"))
    assert nobody.get_object(Bucket=bucket, Key="web/k")["Body"].read() == b"open"
    with refused("AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="k")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    with refused("AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="web/k")


def test_default_encryption(s3: Any, bucket: str) -> None:
    def algorithm() -> str:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        return str(rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])

    def put(**more: str) -> tuple[str, bool]:
        answer = s3.put_object(Bucket=bucket, Key="k", Body=b"content", **more)
        head = s3.head_object(Bucket=bucket, Key="k")
        assert (head["ServerSideEncryption"], head["ETag"]) == (answer["ServerSideEncryption"], answer["ETag"])
        return answer["ServerSideEncryption"], answer["ETag"].strip('"') == hashlib.md5(b"content").hexdigest()

    assert (algorithm(), put()) == ("AES256", ("AES256", True))
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert (algorithm(), put(), put(ServerSideEncryption="AES256")) == ("aws:kms", ("aws:kms", False), ("AES256", True))
    s3.delete_bucket_encryption(Bucket=bucket)
    assert (algorithm(), put()) == ("AES256", ("AES256", True))
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "rot13"}}
    with refused("MalformedXML"):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def test_a_copy_has_the_checksum_that_is_asked_for(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"content")
    source = {"Bucket": bucket, "Key": "a"}
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource=source, ChecksumAlgorithm="SHA1")["CopyObjectResult"]
    expected = b64encode(hashlib.sha1(b"content").digest()).decode()
    head = s3.head_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")
    assert (copied["ChecksumSHA1"], head["ChecksumSHA1"]) == (expected, expected)


def test_settings_go_with_their_bucket(s3: Any) -> None:
    name = f"test-{secrets.token_hex(8)}"
    for _ in range(2):
        s3.create_bucket(Bucket=name)
        with refused("NoSuchBucketPolicy"):
            s3.get_bucket_policy(Bucket=name)
        s3.put_bucket_policy(Bucket=name, Policy=policy(name))
        s3.delete_bucket(Bucket=name)
