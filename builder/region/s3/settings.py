"""What a bucket is told once and its objects follow: the bucket policy and the default encryption."""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from builder.catalog.ec2_user import EC2_USER
from builder.errors import BuilderError
from builder.formats import bucket_policy
from builder.region.errors import ServiceError
from builder.region.s3 import access
from builder.region.s3.call import Call, Result, find_bucket
from builder.region.state import Row, State

POLICY, ENCRYPTION = "policy", "encryption"
LARGEST_POLICY = 20 << 10
ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
# Since January 2023 every bucket has this one, and it cannot be without.
DEFAULT_RULE = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
# Of a statement. Others (NotPrincipal, conditions) would have to be worked out to tell who may read.
UNDERSTOOD = frozenset({"Sid", "Effect", "Principal", "Action", "Resource"})


def get_policy(call: Call) -> Result:
    bucket = find_bucket(call)
    policy = _setting(call.state, bucket["name"], POLICY)
    if policy is None:
        raise ServiceError("NoSuchBucketPolicy", "The bucket policy does not exist", {"BucketName": bucket["name"]})
    return Result(members={"Policy": policy})


def put_policy(call: Call) -> Result:
    bucket = find_bucket(call)
    policy = str(call.parameters.get("Policy") or "")
    _check_policy(policy, bucket["name"])
    if bucket_policy.is_public(policy) and access.block_of(bucket).get("BlockPublicPolicy"):
        raise ServiceError("AccessDenied", "Access Denied: the bucket's public access block refuses public policies")
    _set(call, POLICY, policy)
    return Result(status=204)


def delete_policy(call: Call) -> Result:
    find_bucket(call)
    _set(call, POLICY, None)
    return Result()


def get_encryption(call: Call) -> Result:
    rule = _rule(call.state, find_bucket(call)["name"])
    return Result(members={"ServerSideEncryptionConfiguration": {"Rules": [rule]}})


def put_encryption(call: Call) -> Result:
    find_bucket(call)
    rules = call.parameters["ServerSideEncryptionConfiguration"].get("Rules") or []
    chosen = rules[0].get("ApplyServerSideEncryptionByDefault") if len(rules) == 1 else None
    if not chosen or chosen.get("SSEAlgorithm") not in ALGORITHMS:
        raise ServiceError("MalformedXML", "The encryption has exactly one rule, with an algorithm that there is")
    if chosen.get("KMSMasterKeyID") and chosen["SSEAlgorithm"] == "AES256":
        raise ServiceError(
            "InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is AES256"
        )
    rule = {"ApplyServerSideEncryptionByDefault": chosen, "BucketKeyEnabled": bool(rules[0].get("BucketKeyEnabled"))}
    _set(call, ENCRYPTION, json.dumps(rule))
    return Result()


def delete_encryption(call: Call) -> Result:
    """Back to what every bucket has."""
    find_bucket(call)
    _set(call, ENCRYPTION, None)
    return Result()


def encryption_of(call: Call) -> dict[str, str]:
    """How a new object is encrypted, as its answers tell: as the request says, or by the bucket's default.

    The local region encrypts nothing; what counts is who may read, and that an ETag is no MD5 then.
    """
    if call.parameters.get("ServerSideEncryption"):
        return {"ServerSideEncryption": str(call.parameters["ServerSideEncryption"])}
    chosen = _rule(call.state, call.bucket)["ApplyServerSideEncryptionByDefault"]
    found = {"ServerSideEncryption": str(chosen["SSEAlgorithm"])}
    if uses_kms(found):
        found["SSEKMSKeyId"] = str(chosen.get("KMSMasterKeyID") or "alias/aws/s3")
    return found


def uses_kms(attributes: Mapping[str, Any]) -> bool:
    return str(attributes.get("ServerSideEncryption", "")).startswith("aws:kms")


def etag_of(md5: str, encryption: Mapping[str, str]) -> str:
    """The ETag of an object of one piece: its MD5, unless KMS encrypts it."""
    return secrets.token_hex(16) if uses_kms(encryption) else md5


def anyone_may_read(state: State, bucket: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether somebody without credentials may read an object."""
    if uses_kms(json.loads(row["attributes"])):
        return False
    by_policy = not access.block_of(bucket).get("RestrictPublicBuckets") and _policy_allows(
        state, bucket, row["key"], ""
    )
    return by_policy or access.anyone_may("READ", row["acl"], bucket)


def ec2_may_read(state: State, bucket: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether EC2 may read an object: it uses nobody's keys of KMS."""
    if uses_kms(json.loads(row["attributes"])):
        return False
    return access.ec2_may("READ", row["acl"], bucket) or _policy_allows(state, bucket, row["key"], EC2_USER)


def _policy_allows(state: State, bucket: Mapping[str, Any], key: str, user: str) -> bool:
    policy = _setting(state, bucket["name"], POLICY)
    resource = f"arn:aws:s3:::{bucket['name']}/{key}"
    return policy is not None and bucket_policy.allows(
        policy, canonical_user=user, action="s3:GetObject", resource=resource
    )


def _check_policy(policy: str, bucket: str) -> None:
    """MalformedPolicy as S3 has it; NotImplemented for what the region would have to keep to and does not."""
    if len(policy) > LARGEST_POLICY:
        raise ServiceError("PolicyTooLarge", "Policy exceeds the maximum allowed document size.")
    try:
        found = bucket_policy.statements(policy)
    except BuilderError as error:
        raise ServiceError("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'") from error
    for each in found:
        if each.get("Effect") not in ("Allow", "Deny"):
            raise ServiceError("MalformedPolicy", "Missing required field Effect")
        if each["Effect"] == "Deny" or not each.keys() <= UNDERSTOOD:
            raise ServiceError("NotImplemented", "The local region knows statements without conditions that allow")
        for name in ("Principal", "Action", "Resource"):
            if name not in each:
                raise ServiceError("MalformedPolicy", f"Missing required field {name}")
        principal = each["Principal"]
        users = principal.get("CanonicalUser", []) if isinstance(principal, dict) else []
        for user in users if isinstance(users, list) else [users]:
            if re.fullmatch(r"[0-9a-f]{64}", str(user)) is None:
                raise ServiceError("MalformedPolicy", "Invalid principal in policy")
        resources = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        for resource in resources:
            if re.match(re.escape(f"arn:aws:s3:::{bucket}") + "(/|$)", str(resource)) is None:
                raise ServiceError("MalformedPolicy", "Policy has invalid resource")


def _setting(state: State, bucket: str, name: str) -> str | None:
    row: Row | None = state.row("SELECT document FROM settings WHERE bucket = ? AND name = ?", (bucket, name))
    return None if row is None else str(row["document"])


def _set(call: Call, name: str, document: str | None) -> None:
    with call.state.transaction() as database:
        database.execute("DELETE FROM settings WHERE bucket = ? AND name = ?", (call.bucket, name))
        if document is not None:
            database.execute("INSERT INTO settings VALUES (?, ?, ?)", (call.bucket, name, document))


def _rule(state: State, bucket: str) -> dict[str, Any]:
    document = _setting(state, bucket, ENCRYPTION)
    rule: dict[str, Any] = DEFAULT_RULE if document is None else json.loads(document)
    return rule
