"""Buckets: made, listed, removed; their access control lists, object ownership and public access block."""

import json
import re
from typing import Any

from builder.region.errors import ServiceError
from builder.region.s3 import access
from builder.region.s3.call import Call, Result, find_bucket, limit_of, now, time_of


def list_buckets(call: Call) -> Result:
    wanted = call.parameters
    limit = limit_of(wanted, "MaxBuckets", most=10_000)
    after = wanted.get("ContinuationToken") or ""
    prefix = wanted.get("Prefix") or ""
    rows = call.state.rows("SELECT * FROM buckets WHERE name > ? ORDER BY name", (after,))
    found = [row for row in rows if row["name"].startswith(prefix)]
    members: dict[str, Any] = {
        "Owner": access.OWNER,
        "Buckets": [
            {"Name": row["name"], "CreationDate": time_of(row["created"]), "BucketRegion": call.region}
            for row in found[:limit]
        ],
    }
    if len(found) > limit:
        members["ContinuationToken"] = found[limit - 1]["name"]
    if prefix:
        members["Prefix"] = prefix
    return Result(members=members)


def create_bucket(call: Call) -> Result:
    name = call.bucket
    _check_name(name)
    wanted = call.parameters
    if wanted.get("ObjectLockEnabledForBucket"):
        raise ServiceError("NotImplemented", "The local region has no object lock")
    location = (wanted.get("CreateBucketConfiguration") or {}).get("LocationConstraint")
    if location:
        # us-east-1 is asked for by saying nothing; S3 refuses its own name.
        code = "InvalidLocationConstraint" if location == call.region else "IllegalLocationConstraintException"
        raise ServiceError(code, f"The {location} location constraint is incompatible for the region {call.region}")
    ownership = wanted.get("ObjectOwnership") or access.ENFORCED
    _check_ownership(ownership)
    row = {"ownership": ownership, "public_access": json.dumps(access.BLOCK_ALL)}
    if ownership == access.ENFORCED and (wanted.get("ACL") not in (None, "private")):
        raise ServiceError(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    grants = access.PRIVATE if ownership == access.ENFORCED else access.requested(wanted, row)
    with call.state.transaction() as database:
        if database.execute("SELECT 1 FROM buckets WHERE name = ?", (name,)).fetchone() is None:
            database.execute(
                "INSERT INTO buckets VALUES (?, ?, ?, ?, ?)",
                (name, now(), ownership, row["public_access"], json.dumps(grants)),
            )
        # In us-east-1, and only there, S3 lets the owner make a bucket again: 200, nothing changed.
    return Result(members={"Location": f"/{name}"})


def _check_name(name: str) -> None:
    """S3's rules for bucket names of today."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or ".." in name or re.fullmatch(r"[\d.]+", name):
        raise ServiceError("InvalidBucketName", "The specified bucket is not valid.", {"BucketName": name})


def _check_ownership(ownership: object) -> None:
    if ownership not in access.OWNERSHIPS:
        raise ServiceError("MalformedXML", f"Object ownership is one of {', '.join(access.OWNERSHIPS)}")


def head_bucket(call: Call) -> Result:
    find_bucket(call)
    return Result(members={"BucketRegion": call.region, "AccessPointAlias": False})


def delete_bucket(call: Call) -> Result:
    find_bucket(call)
    with call.state.transaction() as database:
        if database.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (call.bucket,)).fetchone():
            raise ServiceError(
                "BucketNotEmpty", "The bucket you tried to delete is not empty", {"BucketName": call.bucket}
            )
        database.execute("DELETE FROM uploads WHERE bucket = ?", (call.bucket,))
        database.execute("DELETE FROM buckets WHERE name = ?", (call.bucket,))
    return Result()


def get_location(call: Call) -> Result:
    """us-east-1 is told as an empty constraint."""
    find_bucket(call)
    return Result(members={"LocationConstraint": ""})


def get_versioning(call: Call) -> Result:
    """Never enabled: the answer has no Status."""
    find_bucket(call)
    return Result()


def get_acl(call: Call) -> Result:
    bucket = find_bucket(call)
    return Result(members=access.described(bucket["acl"], bucket))


def put_acl(call: Call) -> Result:
    bucket = find_bucket(call)
    grants = access.requested(call.parameters, bucket)
    _update(call, "acl", json.dumps(list(grants)))
    return Result()


def get_ownership(call: Call) -> Result:
    ownership = find_bucket(call)["ownership"]
    if not ownership:
        raise ServiceError("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
    return Result(members={"OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}})


def put_ownership(call: Call) -> Result:
    bucket = find_bucket(call)
    rules: list[dict[str, Any]] = call.parameters["OwnershipControls"].get("Rules") or []
    if len(rules) != 1:
        raise ServiceError("MalformedXML", "Ownership controls have exactly one rule")
    ownership = rules[0].get("ObjectOwnership")
    _check_ownership(ownership)
    if ownership == access.ENFORCED and json.loads(bucket["acl"]) != list(access.PRIVATE):
        raise ServiceError(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    _update(call, "ownership", ownership)
    return Result()


def delete_ownership(call: Call) -> Result:
    """Without controls a bucket is as before they existed: the writer owns, and lists count."""
    find_bucket(call)
    _update(call, "ownership", "")
    return Result()


def get_public_access(call: Call) -> Result:
    block = access.block_of(find_bucket(call))
    if not block:
        raise ServiceError(
            "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"
        )
    return Result(members={"PublicAccessBlockConfiguration": block})


def put_public_access(call: Call) -> Result:
    find_bucket(call)
    wanted = call.parameters["PublicAccessBlockConfiguration"]
    _update(call, "public_access", json.dumps({name: bool(wanted.get(name)) for name in access.BLOCK_ALL}))
    return Result()


def delete_public_access(call: Call) -> Result:
    find_bucket(call)
    _update(call, "public_access", None)
    return Result()


def _update(call: Call, column: str, value: str | None) -> None:
    with call.state.transaction() as database:
        database.execute(f"UPDATE buckets SET {column} = ? WHERE name = ?", (value, call.bucket))
