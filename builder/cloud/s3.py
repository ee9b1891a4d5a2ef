"""Buckets and objects of S3, as far as bundles need them."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, aws_command, code_of
from builder.errors import RegionError

_MISSING = {"404", "NoSuchBucket", "NotFound"}
_FORBIDDEN = {"403", "AccessDenied"}
_RACED = {"BucketAlreadyOwnedByYou", "OperationAborted"}
_OWNERSHIP = {"AccessControlListNotSupported", "InvalidBucketAclWithObjectOwnership"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket that must belong to `account`: every call says so, and S3 refuses it otherwise."""

    client: Client
    name: str
    account: str

    @property
    def address(self) -> dict[str, str]:
        return {"Bucket": self.name, "ExpectedBucketOwner": self.account}


def ensure_bucket(bucket: Bucket) -> bool:
    """Make the bucket when there is none, in the client's region; True if it was made.

    RegionError when the bucket is somebody else's, or in another region: EC2 registers from its own region only.
    """
    with answers(bucket.client, f"the bucket {bucket.name}"):
        try:
            answer = bucket.client.head_bucket(**bucket.address)
        except ClientError as error:
            if code_of(error) in _MISSING:
                return _create(bucket)
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            _hold_region(bucket, headers.get("x-amz-bucket-region"))
            if code_of(error) == "403":
                raise RegionError(
                    f"the bucket {bucket.name} is not yours to use",
                    detail=f"HeadBucket: access denied, with {bucket.account} as the expected owner.",
                    hint="allow s3:ListBucket if it is yours, or set bundle.bucket in the recipe to another",
                ) from error
            raise
    _hold_region(bucket, answer.get("BucketRegion") or _location(bucket))
    return False


def holds_all(client: Client, bucket: str, prefix: str, manifest: str, size: int) -> bool:
    """Whether the manifest and all `size` bytes of a bundle are below `prefix`: one question, nothing is read.

    A bucket that is gone, or that may not be looked into, holds nothing.
    """
    with answers(client, f"s3://{bucket}/{prefix}"):
        try:
            found = _sizes(client, {"Bucket": bucket}, prefix)
        except ClientError as error:
            if code_of(error) in _MISSING | _FORBIDDEN:
                return False
            raise
    return manifest in found and sum(found.values()) == size


def sizes(bucket: Bucket, prefix: str) -> dict[str, int]:
    """The keys that begin with `prefix`, and the bytes of each."""
    with answers(bucket.client, f"s3://{bucket.name}/{prefix}"):
        return _sizes(bucket.client, bucket.address, prefix)


def holds(bucket: Bucket, key: str, sha1: str, path: Path) -> bool:
    """Whether the object has the bytes of the file, whose SHA-1 is known.

    The checksum that S3 keeps decides; an object that has none is known by its ETag, but only where that is a plain
    MD5 (not with KMS, not of several pieces). False when neither tells.
    """
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        head = bucket.client.head_object(**bucket.address, Key=key, ChecksumMode="ENABLED")
    if "ChecksumSHA1" in head:
        return str(head["ChecksumSHA1"]) == _base64(sha1)
    etag = str(head.get("ETag", "")).strip('"')
    if head.get("ServerSideEncryption") in {"aws:kms", "aws:kms:dsse"} or "SSECustomerAlgorithm" in head or "-" in etag:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == etag


def put(bucket: Bucket, key: str, path: Path, *, sha1: str, acl: str, content_type: str) -> None:
    """Store a file in one piece; S3 checks its SHA-1 on arrival and keeps it. An object is there whole or not."""
    with answers(bucket.client, f"s3://{bucket.name}/{key}"), path.open("rb") as body:
        try:
            bucket.client.put_object(
                **bucket.address,
                Key=key,
                Body=body,
                ACL=acl,
                ContentType=content_type,
                ChecksumSHA1=_base64(sha1),
            )
        except ClientError as error:
            if code_of(error) in _OWNERSHIP:
                raise _ownership(bucket, acl) from error
            raise


def _create(bucket: Bucket) -> bool:
    region = bucket.client.meta.region_name
    # ObjectWriter: since April 2023 a bucket refuses ACLs otherwise, and EC2 reads bundles by the ACL aws-exec-read.
    request: dict[str, Any] = {"Bucket": bucket.name, "ObjectOwnership": "ObjectWriter"}
    if region != "us-east-1":  # the one region that must not be named
        request["CreateBucketConfiguration"] = {"LocationConstraint": region}
    try:
        bucket.client.create_bucket(**request)
    except ClientError as error:
        if code_of(error) in _RACED:
            return False
        if code_of(error) == "BucketAlreadyExists":
            raise RegionError(
                f"the bucket {bucket.name} belongs to somebody else",
                hint="bucket names are shared by all of AWS: set bundle.bucket in the recipe to another one",
            ) from error
        raise
    return True


def _location(bucket: Bucket) -> str:
    answer = bucket.client.get_bucket_location(**bucket.address)
    # S3's own old words: nothing for us-east-1, EU for eu-west-1.
    constraint = str(answer.get("LocationConstraint") or "us-east-1")
    return "eu-west-1" if constraint == "EU" else constraint


def _hold_region(bucket: Bucket, location: str | None) -> None:
    if location and location != bucket.client.meta.region_name:
        raise RegionError(
            f"the bucket {bucket.name} is in {location}, the AMI is for {bucket.client.meta.region_name}",
            hint="EC2 registers bundles of its own region only: set bundle.bucket in the recipe to another one",
        )


def _ownership(bucket: Bucket, acl: str) -> RegionError:
    words = f"s3api put-bucket-ownership-controls --bucket {bucket.name} "
    words += "--ownership-controls 'Rules=[{ObjectOwnership=ObjectWriter}]'"
    return RegionError(
        f"the bucket {bucket.name} does not allow ACLs, so EC2 could not read the bundle",
        detail=f"Its Object Ownership is BucketOwnerEnforced; the ACL {acl} is how EC2 gets to read a bundle.",
        hint=f"run: {aws_command(bucket.client, words)} (or name another bucket in [bundle])",
    )


def _sizes(client: Client, address: dict[str, str], prefix: str) -> dict[str, int]:
    pages = client.get_paginator("list_objects_v2").paginate(**address, Prefix=prefix)
    return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode("ascii")
