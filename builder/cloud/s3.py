"""Objects of S3, as far as bundles need them: listed, described, put, read with patience, and removed."""

import base64
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, IncompleteReadError

from builder.cloud.body import Body
from builder.cloud.errors import Client, answers, code_of, refusal, unanswered
from builder.errors import RegionError

PIECE = 1 << 20
"""Bytes that are read from a connection at a time."""
TRIES = 5
"""Connections that may break one after another without a byte between them before a read is given up."""
DELETED_AT_ONCE = 1000
"""Keys of one DeleteObjects request; S3's limit."""

MISSING = {"404", "NoSuchBucket", "NoSuchKey", "NotFound"}
_FORBIDDEN = {"403", "AccessDenied"}
_TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
_BROKEN = (HTTPClientError, ConnectionError, IncompleteReadError)


class Taken(RegionError):
    """Something else came to be under that key meanwhile."""


class AclsRefused(RegionError):
    """The bucket has Object Ownership enforced, so it takes no access lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket that must belong to `account`: every call says so, and S3 refuses it otherwise.

    An empty account stands for any owner: somebody else's bundles may be read where they are public.
    """

    client: Client
    name: str
    account: str = ""

    @property
    def address(self) -> dict[str, str]:
        return {"Bucket": self.name} | ({"ExpectedBucketOwner": self.account} if self.account else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a listing tells of an object."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What S3 knows of an object's bytes; digests in hex, empty where it does not say."""

    size: int
    sha1: str = ""
    """Of the whole object, computed by S3 on arrival."""
    md5: str = ""
    """From the ETag, where that is a plain MD5: not with KMS, not of several pieces."""
    kms: bool = False
    """Encrypted with a key of KMS, which EC2 cannot use."""


def listed(bucket: Bucket, prefix: str, *, deep: bool = True) -> dict[str, Listed]:
    """The keys that begin with `prefix`, however many; unless `deep` without those that have a slash after it."""
    address = bucket.address if deep else {**bucket.address, "Delimiter": "/"}
    with answers(bucket.client, f"s3://{bucket.name}/{prefix}"):
        return _listed(bucket.client, address, prefix)


def holds_all(client: Client, bucket: str, prefix: str, manifest: str, size: int) -> bool:
    """Whether the manifest and all `size` bytes of a bundle are below `prefix`: one question, nothing is read.

    A bucket that is gone, or that may not be looked into, holds nothing.
    """
    with answers(client, f"s3://{bucket}/{prefix}"):
        try:
            found = _listed(client, {"Bucket": bucket}, prefix)
        except ClientError as error:
            if code_of(error) in MISSING | _FORBIDDEN:
                return False
            raise
    return manifest in found and sum(each.size for each in found.values()) == size


def stored(bucket: Bucket, key: str) -> Stored | None:
    """What S3 keeps under a key; None when there is nothing."""
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        try:
            head = bucket.client.head_object(**bucket.address, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
    kms = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
    etag = str(head.get("ETag", "")).strip('"')
    sha1 = str(head.get("ChecksumSHA1", ""))
    return Stored(
        size=int(head.get("ContentLength", 0)),
        sha1="" if "-" in sha1 else base64.b64decode(sha1).hex(),
        md5="" if kms or "SSECustomerAlgorithm" in head or "-" in etag else etag,
        kms=kms,
    )


def put(
    bucket: Bucket,
    key: str,
    body: bytes | Body | BinaryIO,
    *,
    sha1: str,
    acl: str | None,
    content_type: str,
    new: bool = False,
) -> None:
    """Store an object in one piece; S3 checks its SHA-1 on arrival and keeps it. An object is there whole or not.

    `acl` is a canned list, or None where the bucket's policy says who may read. With `new` nothing that is there is
    replaced: Taken, then.
    """
    request = {**bucket.address, "Key": key, "ContentType": content_type, "ChecksumSHA1": to_base64(sha1)}
    request |= {} if acl is None else {"ACL": acl}
    file = Body(body) if isinstance(body, bytes) else body
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        try:
            bucket.client.put_object(**request, Body=file, **({"IfNoneMatch": "*"} if new else {}))
        except ClientError as error:
            if code_of(error) == "AccessControlListNotSupported":
                raise AclsRefused(f"the bucket {bucket.name} does not allow ACLs") from error
            if new and code_of(error) in _TAKEN:
                raise Taken(f"s3://{bucket.name}/{key} is there already") from error
            raise


def readers(bucket: Bucket, key: str) -> frozenset[str] | None:
    """Whom an object's access list lets read it: canonical users and groups. None when it may not be looked at."""
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        try:
            grants = bucket.client.get_object_acl(**bucket.address, Key=key).get("Grants", ())
        except ClientError as error:
            if code_of(error) in _FORBIDDEN:
                return None
            raise
    return frozenset(
        str(each["Grantee"].get("ID") or each["Grantee"].get("URI"))
        for each in grants
        if each["Permission"] in ("READ", "FULL_CONTROL")
    )


def set_acl(bucket: Bucket, key: str, acl: str) -> None:
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        bucket.client.put_object_acl(**bucket.address, Key=key, ACL=acl)


def read(bucket: Bucket, key: str, *, start: int, length: int, etag: str) -> Iterator[bytes]:
    """A stretch of an object in pieces of at most 1 MiB, all of the object that has that ETag.

    A connection that breaks is made anew where it broke. RegionError when the object was replaced or is shorter.
    """
    what = f"s3://{bucket.name}/{key}"
    position, end, broken = start, start + length, 0
    while position < end:
        before, why = position, ""
        try:
            answer = bucket.client.get_object(
                **bucket.address, Key=key, Range=f"bytes={position}-{end - 1}", IfMatch=etag
            )
            with answer["Body"]:
                for piece in answer["Body"].iter_chunks(PIECE):
                    position += len(piece)
                    yield piece
        except ClientError as error:
            raise _unreadable(bucket, what, error) from error
        except _BROKEN as error:
            why = str(error)
        except BotoCoreError as error:
            raise unanswered(bucket.client.meta.endpoint_url, what, error) from error
        broken = broken + 1 if position == before else 0
        if broken == TRIES:
            raise RegionError(
                f"{what}: the connection breaks again and again at byte {position}",
                detail=why,
                hint="run it again later",
            )
        if position < end:
            time.sleep(min(0.1 * 2**broken, 5))


def read_small(bucket: Bucket, key: str, limit: int) -> bytes:
    """The bytes of a small object; one byte more than `limit` when it is larger: no more is ever read."""
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        for _ in range(TRIES - 1):
            with suppress(*_BROKEN):
                return _begin_of(bucket, key, limit + 1)
        return _begin_of(bucket, key, limit + 1)


def delete(bucket: Bucket, keys: Sequence[str]) -> None:
    """Remove objects, in their order, 1000 in a request. RegionError naming those that S3 kept.

    Removing what is not there is no error.
    """
    kept: list[str] = []
    with answers(bucket.client, f"s3://{bucket.name}"):
        for at in range(0, len(keys), DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[at : at + DELETED_AT_ONCE]]
            answer = bucket.client.delete_objects(**bucket.address, Delete={"Objects": objects, "Quiet": True})
            kept += [f"{each.get('Key')}: {each.get('Code')}" for each in answer.get("Errors", ())]
    if kept:
        raise RegionError(
            f"s3://{bucket.name}: {len(kept)} of {len(keys)} objects could not be removed",
            detail="\n".join(kept[:10]),
            hint="the credentials need the right to s3:DeleteObject; run it again for those that are left",
        )


def to_base64(digest: str) -> str:
    """A digest in hex as S3 writes checksums."""
    return base64.b64encode(bytes.fromhex(digest)).decode("ascii")


def _begin_of(bucket: Bucket, key: str, length: int) -> bytes:
    answer = bucket.client.get_object(**bucket.address, Key=key)
    with answer["Body"]:
        data = b""
        while len(data) < length and (piece := answer["Body"].read(length - len(data))):
            data += piece
        return data


def _unreadable(bucket: Bucket, what: str, error: ClientError) -> RegionError:
    if code_of(error) in {"412", "PreconditionFailed", "416", "InvalidRange"}:
        return RegionError(f"{what} was replaced while it was read", hint="run it again when nobody writes there")
    return refusal(bucket.client, what, error)


def _listed(client: Client, address: dict[str, str], prefix: str) -> dict[str, Listed]:
    pages = client.get_paginator("list_objects_v2").paginate(**address, Prefix=prefix)
    return {
        each["Key"]: Listed(size=each["Size"], etag=str(each.get("ETag", "")))
        for page in pages
        for each in page.get("Contents", ())
    }
