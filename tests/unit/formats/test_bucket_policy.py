import json
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.formats.bucket_policy import allows, granting, is_public

USER = "ab" * 32
ALLOW = {
    "Effect": "Allow",
    "Principal": {"CanonicalUser": USER},
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::images/web/*",
}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def may(text: str, resource: str = "arn:aws:s3:::images/web/*") -> bool:
    return allows(text, canonical_user=USER, action="s3:GetObject", resource=resource)


def test_what_granting_writes_allows() -> None:
    text = granting("images", "web", USER)
    assert may(text)
    assert may(text, "arn:aws:s3:::images/web/1/p.part.0")
    assert not may(text, "arn:aws:s3:::images/web2/p.part.0")
    assert not may(text, "arn:aws:s3:::images/*")
    assert may(granting("images", "", USER), "arn:aws:s3:::images/*")
    assert not is_public(text)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["*"]}}, True),
        ({"Principal": {"CanonicalUser": ["cd" * 32, USER]}}, True),
        ({"Principal": {"CanonicalUser": "cd" * 32}}, False),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, False),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, False),
        ({"Action": "S3:getobject"}, True),
        ({"Action": ["s3:PutObject", "s3:Get*"]}, True),
        ({"Action": "*"}, True),
        ({"Action": "s3:ListBucket"}, False),
        ({"Resource": ["arn:aws:s3:::other/*", "arn:aws:s3:::images/*"]}, True),
        ({"Resource": "arn:aws:s3:::images/we?/*"}, True),
        ({"Resource": "arn:aws:s3:::images"}, False),
        ({"Resource": "arn:aws:s3:::images/web/1/*"}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ({"Effect": "Deny"}, False),
        ({"Effect": None}, False),
        ({"Principal": None}, False),
    ],
)
def test_allows(change: dict[str, Any], expected: bool) -> None:
    assert may(policy({**ALLOW, **change})) is expected


def test_a_denial_decides() -> None:
    assert not may(policy(ALLOW, {**ALLOW, "Effect": "Deny", "Principal": "*", "Action": "s3:*"}))
    assert may(policy(ALLOW, {**ALLOW, "Effect": "Deny", "Resource": "arn:aws:s3:::other/*"}))


def test_one_statement_need_not_be_a_list() -> None:
    assert may(json.dumps({"Statement": ALLOW}))


def test_is_public() -> None:
    assert is_public(policy(ALLOW, {**ALLOW, "Principal": "*"}))
    assert not is_public(policy({**ALLOW, "Principal": "*", "Effect": "Deny"}))
    assert not is_public(policy({**ALLOW, "Principal": "*", "Condition": {"StringEquals": {"aws:SourceArn": "x"}}}))


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Statement": [1]}', '{"Statement": "x"}', "[" * 100_000])
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(BuilderError, match="the bucket policy is not one"):
        may(text)
