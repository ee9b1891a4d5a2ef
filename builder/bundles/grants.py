"""Whether EC2 may read an object of S3: access control list, Object Ownership, public access block, bucket policy.

EC2 reads bundles as one fixed canonical user (display name za-team), the grantee of the canned list aws-exec-read.
What a policy says of it is worked out only as far as that is certain; conditions are not.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from builder.bundles.observed import Bucket, File

__all__ = ["EC2_READER", "ec2_may_read", "policy_allows"]

EC2_READER = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
ENFORCED = "BucketOwnerEnforced"

_PUBLIC = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
_READS = ("READ", "FULL_CONTROL")


def ec2_may_read(bucket: Bucket, key: str, file: File) -> tuple[bool | None, str]:
    """Whether EC2 may read this object, and why not; None when that cannot be known, and why."""
    by_policy = None if bucket.policy is None else policy_allows(bucket.policy, bucket.name, key)
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
    if granted is None or (by_policy is None and bucket.ownership == ENFORCED):
        return None, why
    return False, why


def _by_list(bucket: Bucket, file: File) -> tuple[bool | None, str]:
    if bucket.ownership == ENFORCED:
        return False, "the bucket does not allow access control lists (BucketOwnerEnforced), and no policy allows it"
    if file.grants is None:
        return None, "its access control list may not be looked at"
    readers = {grantee for grantee, permission in file.grants if permission in _READS}
    if EC2_READER in readers:
        return True, ""
    if readers.isdisjoint(_PUBLIC):
        return False, "its access control list grants EC2 nothing"
    if bucket.ignores_public:
        return False, "it is public-read, and the bucket's public access block makes that count for nothing"
    return (None, "it is public-read, and the bucket's public access block is not known") if (
        bucket.ignores_public is None
    ) else (True, "")


def policy_allows(policy: str, bucket: str, key: str) -> str:
    """What a bucket policy says of EC2 reading an object: `allow`, `deny`, `unclear`, or `` when it says nothing.

    A denial decides, as S3 has it. `unclear`: a statement about it has conditions, or its principal is an account.
    """
    try:
        statements = json.loads(policy)["Statement"] if policy else []
    except (ValueError, KeyError, TypeError):
        return "unclear"
    resource = f"{bucket}/{key}"
    said = {_said(each, resource) for each in ([statements] if isinstance(statements, Mapping) else statements)}
    return next((word for word in ("deny", "unclear", "allow") if word in said), "")


def _said(statement: Mapping[str, Any], resource: str) -> str:
    if not _matches(statement, "Action", "s3:GetObject", ignore_case=True):
        return ""
    names = [name.rpartition(":::")[2] for name in _listed(statement.get("Resource", []))]
    if not any(_like(name, resource) for name in names):
        return ""
    effect = "allow" if statement.get("Effect") == "Allow" else "deny"
    principal = _principal(statement)
    if principal == "other":
        return ""
    if principal == "account" and effect == "deny":
        return ""  # it names an account of somebody, and EC2's is none of the user's
    return "unclear" if principal == "account" or statement.get("Condition") else effect


def _matches(statement: Mapping[str, Any], member: str, name: str, *, ignore_case: bool) -> bool:
    patterns = _listed(statement.get(member, []))
    return any(_like(each.lower() if ignore_case else each, name.lower() if ignore_case else name) for each in patterns)


def _principal(statement: Mapping[str, Any]) -> str:
    """`ec2` when the statement is about EC2's reader, `account` when it may be, `other` when it is not."""
    principal = statement.get("Principal", {})
    if principal == "*":
        return "ec2"
    if not isinstance(principal, Mapping):
        return "account"
    if EC2_READER in _listed(principal.get("CanonicalUser", [])) or "*" in _listed(principal.get("AWS", [])):
        return "ec2"
    # S3 may show a canonical user as the account that it belongs to.
    return "account" if "AWS" in principal or "Principal" not in statement else "other"


def _listed(value: object) -> Sequence[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def _like(pattern: str, text: str) -> bool:
    """A policy's wildcards: * is any number of any characters, ? is one."""
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
