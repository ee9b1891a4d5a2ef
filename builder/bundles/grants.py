"""Whether EC2 may read an object of S3: access control list, Object Ownership, public access block, bucket policy.

EC2 reads bundles as one fixed canonical user (display name za-team), the grantee of the canned list aws-exec-read.
What a policy says of it is worked out only as far as that is certain; conditions are not.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from builder.bundles.observed import Bucket, File
from builder.catalog.ec2_user import EC2_USER
from builder.errors import BuilderError
from builder.formats.bucket_policy import allows, is_public, statements

__all__ = ["ec2_may_read", "policy_says"]

ENFORCED = "BucketOwnerEnforced"

_PUBLIC = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
_READS = ("READ", "FULL_CONTROL")


def ec2_may_read(bucket: Bucket, key: str, file: File) -> tuple[bool | None, str]:
    """Whether EC2 may read this object, and why not; None when that cannot be known, and why."""
    if bucket.policy and bucket.restricts_public and _is_public(bucket.policy):
        return False, "the bucket's policy is public, and its public access block then lets nobody in from outside"
    by_policy = None if bucket.policy is None else policy_says(bucket, key)
    if by_policy == "allow":
        return True, ""
    if by_policy == "deny":
        return False, "the bucket's policy denies it"
    granted, why = _by_list(bucket, file)
    if granted and by_policy == "unclear":
        return None, "the bucket's policy has conditions on it, or names others than EC2's canonical user"
    if granted:
        return True, ""
    if by_policy == "unclear":
        return None, f"{why}; the bucket's policy may allow it, and cannot be worked out"
    if granted is None or by_policy is None:
        return None, f"{why}; the bucket's policy may not be looked at" if by_policy is None else why
    return False, why


def _by_list(bucket: Bucket, file: File) -> tuple[bool | None, str]:
    if bucket.ownership == ENFORCED:
        return False, "the bucket allows no access control lists (BucketOwnerEnforced), and no policy lets EC2 in"
    if file.grants is None:
        return None, "its access control list may not be looked at"
    readers = {grantee for grantee, permission in file.grants if permission in _READS}
    if EC2_USER in readers:
        return True, ""
    if readers.isdisjoint(_PUBLIC):
        return False, "its access control list grants EC2 nothing"
    if bucket.ignores_public:
        return False, "it is public-read, and the bucket's public access block makes that count for nothing"
    if bucket.ignores_public is None:
        return None, "it is public-read, and whether the bucket's public access block lets that count is not known"
    return True, ""


def policy_says(bucket: Bucket, key: str) -> str:
    """What the bucket's policy says of EC2 reading an object: `allow`, `deny`, `unclear`, or "" for nothing.

    A denial decides, as S3 has it. `unclear`: a statement about it has conditions, or may mean EC2 or somebody else.
    """
    if not bucket.policy:
        return ""
    try:
        said = {_said(each, f"arn:{bucket.partition}:s3:::{bucket.name}/{key}") for each in statements(bucket.policy)}
    except BuilderError:
        return "unclear"
    return next((word for word in ("deny", "unclear", "allow") if word in said), "")


def _said(statement: Mapping[str, Any], resource: str) -> str:
    if not statement.keys().isdisjoint({"NotPrincipal", "NotAction", "NotResource"}):
        return "unclear"
    allowing = statement.get("Effect") == "Allow"
    if _would_allow({**statement, "Principal": "*"}, resource) and _names_an_account(statement) and allowing:
        return "unclear"  # S3 may show a canonical user as the account that it belongs to
    if not _would_allow(statement, resource):
        return ""
    if statement.get("Condition"):
        return "unclear"
    return "allow" if allowing else "deny"


def _is_public(policy: str) -> bool:
    with suppress(BuilderError):
        return is_public(policy)
    return False


def _would_allow(statement: Mapping[str, Any], resource: str) -> bool:
    """Whether a statement is about EC2 reading this, be it to allow or deny it, and whatever its conditions."""
    bare = {**statement, "Effect": "Allow", "Condition": None}
    policy = json.dumps({"Statement": bare})
    return allows(policy, canonical_user=EC2_USER, action="s3:GetObject", resource=resource)


def _names_an_account(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    return isinstance(principal, Mapping) and principal.get("AWS", "*") not in ("*", ["*"])
