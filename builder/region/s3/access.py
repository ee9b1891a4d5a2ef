"""Who may read: access control lists, object ownership and the public access block."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from builder.catalog.ec2_user import EC2_USER
from builder.region.errors import ServiceError
from builder.region.identity import ACCOUNT

OWNER = {"ID": hashlib.sha256(f"canonical user of {ACCOUNT}".encode()).hexdigest(), "DisplayName": "local"}
# The user as whom EC2 reads bundles: what the canned list aws-exec-read grants READ to.
EC2 = {"ID": EC2_USER, "DisplayName": "za-team"}
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})
PERMISSIONS = frozenset({"FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"})
ENFORCED = "BucketOwnerEnforced"
OWNERSHIPS = (ENFORCED, "BucketOwnerPreferred", "ObjectWriter")
# New buckets since April 2023: no lists, and nothing public.
BLOCK_ALL = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}

Grants = Sequence[Mapping[str, Any]]


def _user(user: Mapping[str, str]) -> dict[str, str]:
    return {**user, "Type": "CanonicalUser"}


def _group(uri: str) -> dict[str, str]:
    return {"URI": uri, "Type": "Group"}


def _grant(grantee: Mapping[str, str], permission: str) -> dict[str, Any]:
    return {"Grantee": dict(grantee), "Permission": permission}


PRIVATE = (_grant(_user(OWNER), "FULL_CONTROL"),)
CANNED: Mapping[str, tuple[dict[str, Any], ...]] = {
    "private": PRIVATE,
    "bucket-owner-full-control": PRIVATE,
    "bucket-owner-read": PRIVATE,
    "public-read": (*PRIVATE, _grant(_group(ALL_USERS), "READ")),
    "public-read-write": (*PRIVATE, _grant(_group(ALL_USERS), "READ"), _grant(_group(ALL_USERS), "WRITE")),
    "authenticated-read": (*PRIVATE, _grant(_group(AUTHENTICATED_USERS), "READ")),
    "aws-exec-read": (*PRIVATE, _grant(_user(EC2), "READ")),
}
# Members of a request that grant, and what they grant.
GRANTING = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}


def requested(parameters: Mapping[str, Any], bucket: Mapping[str, Any]) -> Grants:
    """The list that a request sets, private when it says nothing; refused where the bucket does not allow it."""
    canned = parameters.get("ACL")
    named = [name for name in GRANTING if parameters.get(name)]
    policy = parameters.get("AccessControlPolicy")
    if sum((bool(canned), bool(named), policy is not None)) > 1:
        raise ServiceError("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    grants: Grants = PRIVATE
    if canned:
        if canned not in CANNED:
            raise ServiceError(
                "InvalidArgument",
                "The canned ACL is not one that there is",
                {"ArgumentName": "x-amz-acl", "ArgumentValue": str(canned)},
            )
        grants = CANNED[canned]
    elif named:
        grants = [grant for name in named for grant in _from_header(str(parameters[name]), GRANTING[name])]
    elif policy is not None:
        grants = _from_policy(policy)
    if bucket["ownership"] == ENFORCED and canned != "bucket-owner-full-control" and list(grants) != list(PRIVATE):
        raise ServiceError("AccessControlListNotSupported", "The bucket does not allow ACLs")
    if bucket["ownership"] == ENFORCED and (canned not in (None, "bucket-owner-full-control") or named):
        raise ServiceError("AccessControlListNotSupported", "The bucket does not allow ACLs")
    if is_public(grants) and block_of(bucket).get("BlockPublicAcls"):
        raise ServiceError("AccessDenied", "Access Denied: the bucket's public access block refuses public ACLs")
    return grants


def _from_header(text: str, permission: str) -> list[dict[str, Any]]:
    """`id="...", uri="..."`, as x-amz-grant-read has it."""
    grants = []
    for each in text.split(","):
        match = re.fullmatch(r'\s*(id|uri|emailAddress)\s*=\s*"?([^"]*)"?\s*', each)
        if match is None:
            raise ServiceError("InvalidArgument", "Argument format not recognized")
        grants.append(_grant(_grantee(match[1], match[2]), permission))
    return grants


def _grantee(kind: str, value: str) -> dict[str, str]:
    if kind == "id" and re.fullmatch(r"[0-9a-f]{64}", value):
        known = next((user for user in (OWNER, EC2) if user["ID"] == value), {"ID": value})
        return _user(known)
    if kind == "uri" and value in GROUPS:
        return _group(value)
    if kind == "emailAddress":
        raise ServiceError(
            "UnresolvableGrantByEmailAddress", "The email address you provided does not match any account"
        )
    raise ServiceError("InvalidArgument", "Invalid id" if kind == "id" else "Invalid group uri")


def _from_policy(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The list in the body of PutObjectAcl and PutBucketAcl."""
    owner = policy.get("Owner") or {}
    if owner.get("ID") not in (None, OWNER["ID"]):
        raise ServiceError("AccessDenied", "Access Denied")
    grants = []
    for each in policy.get("Grants") or ():
        grantee = each.get("Grantee") or {}
        if each.get("Permission") not in PERMISSIONS:
            raise ServiceError("MalformedACLError", "The permission of a grant is not one that there is")
        kind = "id" if grantee.get("ID") else "uri" if grantee.get("URI") else "emailAddress"
        grants.append(_grant(_grantee(kind, grantee.get("ID") or grantee.get("URI") or ""), each["Permission"]))
    return grants


def is_public(grants: Grants) -> bool:
    return any(grant["Grantee"].get("URI") in (ALL_USERS, AUTHENTICATED_USERS) for grant in grants)


def block_of(bucket: Mapping[str, Any]) -> Mapping[str, bool]:
    """The bucket's public access block; empty when it was taken away."""
    block: Mapping[str, bool] = json.loads(bucket["public_access"]) if bucket["public_access"] else {}
    return block


def _granted(acl: str, bucket: Mapping[str, Any], grantees: set[str], permission: str) -> bool:
    if bucket["ownership"] == ENFORCED:
        return False
    ignored = {ALL_USERS, AUTHENTICATED_USERS} if block_of(bucket).get("IgnorePublicAcls") else set()
    return any(
        grant["Permission"] in (permission, "FULL_CONTROL")
        and (grant["Grantee"].get("ID") or grant["Grantee"].get("URI")) in grantees - ignored
        for grant in json.loads(acl)
    )


def anyone_may(permission: str, acl: str, bucket: Mapping[str, Any]) -> bool:
    """Whether somebody without credentials has that permission."""
    return _granted(acl, bucket, {ALL_USERS}, permission)


def ec2_may(permission: str, acl: str, bucket: Mapping[str, Any]) -> bool:
    """Whether EC2 itself has that permission, as it needs to read a bundle."""
    return _granted(acl, bucket, {EC2["ID"], ALL_USERS, AUTHENTICATED_USERS}, permission)


def described(acl: str, bucket: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of GetObjectAcl and GetBucketAcl. With ownership enforced, lists do not count and are not shown."""
    grants = PRIVATE if bucket["ownership"] == ENFORCED else json.loads(acl)
    return {"Owner": OWNER, "Grants": grants}
