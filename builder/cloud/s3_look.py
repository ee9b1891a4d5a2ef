"""What S3 says of a bucket and of objects, without reading them: region, ownership, policy, lists, checksums.

A right that is missing, or a question that an endpoint does not know, leaves a value unknown (None), not an error: who
looks wants to know what can be known.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from builder.cloud import session
from builder.cloud.buckets import region_of_location
from builder.cloud.errors import answers, code_of
from builder.cloud.s3 import MISSING, Bucket

_UNSAID = {"403", "AccessDenied", "Forbidden", "NotImplemented", "MethodNotAllowed", "UnsupportedOperation"}
_NONE = {"NoSuchBucketPolicy", "NoSuchPublicAccessBlockConfiguration", "OwnershipControlsNotFoundError"}
_ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFacts:
    """None is what could not be asked, "" or False what is not set."""

    region: str
    partition: str
    ownership: str | None
    ignores_public: bool | None
    restricts_public: bool | None
    policy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """Of one object."""

    key: str
    size: int
    sha1: str
    """Hex; "" when S3 keeps none of the whole object."""
    encryption: str
    archived: str
    grants: tuple[tuple[str, str], ...] | None
    """(id of a canonical user or URI of a group, permission)."""


def look_at_bucket(bucket: Bucket) -> BucketFacts:
    """RegionError when there is no such bucket, or nothing of it may be seen."""
    region = _region(bucket)
    controls = _asked(bucket, "get_bucket_ownership_controls")
    block = _asked(bucket, "get_public_access_block")
    policy = _asked(bucket, "get_bucket_policy")
    rules = [] if controls is None else controls.get("OwnershipControls", {}).get("Rules", [])
    return BucketFacts(
        region=region,
        partition=str(bucket.client.meta.partition),
        ownership=None if controls is None else next((each["ObjectOwnership"] for each in rules), ""),
        ignores_public=_blocks(block, "IgnorePublicAcls"),
        restricts_public=_blocks(block, "RestrictPublicBuckets"),
        policy=None if policy is None else policy.get("Policy", ""),
    )


def look_at_objects(bucket: Bucket, keys: Iterable[str]) -> Iterator[ObjectFacts]:
    """The objects of these keys that are there, in their order; several are asked about at once."""
    with ThreadPoolExecutor(session.POOL, "look") as pool:
        try:
            yield from (each for each in pool.map(lambda key: _object(bucket, key), keys) if each is not None)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _region(bucket: Bucket) -> str:
    """S3 names the region in the header of any answer, a refusal too."""
    with answers(bucket.client, f"the bucket {bucket.name}"):
        try:
            answer = bucket.client.head_bucket(**bucket.address)
        except ClientError as error:
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            if found := headers.get("x-amz-bucket-region"):
                return str(found)
            raise
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if found := answer.get("BucketRegion") or headers.get("x-amz-bucket-region"):
        return str(found)
    located = _asked(bucket, "get_bucket_location")
    return region_of_location(located["LocationConstraint"]) if located else str(bucket.client.meta.region_name)


def _asked(bucket: Bucket, operation: str, **more: str) -> Mapping[str, Any] | None:
    """The answer; empty when S3 says that there is nothing of the kind, None when it does not say."""
    with answers(bucket.client, f"the bucket {bucket.name}"):
        try:
            answer: Mapping[str, Any] = getattr(bucket.client, operation)(**bucket.address, **more)
        except ClientError as error:
            if code_of(error) in _NONE:
                return {}
            if code_of(error) in _UNSAID | {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}:
                return None
            raise
    return answer


def _blocks(answer: Mapping[str, Any] | None, member: str) -> bool | None:
    return None if answer is None else bool(answer.get("PublicAccessBlockConfiguration", {}).get(member))


def _object(bucket: Bucket, key: str) -> ObjectFacts | None:
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        try:
            head = bucket.client.head_object(**bucket.address, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
    answer = _asked(bucket, "get_object_acl", Key=key)
    storage = str(head.get("StorageClass", ""))
    return ObjectFacts(
        key=key,
        size=int(head["ContentLength"]),
        sha1=_hex(head),
        encryption=str(head.get("ServerSideEncryption", "")),
        archived=storage if storage in _ARCHIVED else "",
        grants=None if answer is None else tuple(_grants(answer)),
    )


def _hex(head: Mapping[str, Any]) -> str:
    """S3's SHA-1 of an object that was sent in one piece; of several pieces it keeps a digest of digests."""
    text = str(head.get("ChecksumSHA1", ""))
    return "" if not text or "-" in text else base64.b64decode(text).hex()


def _grants(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in answer.get("Grants", ()):
        grantee = each.get("Grantee", {})
        yield str(grantee.get("ID") or grantee.get("URI") or ""), str(each.get("Permission", ""))
