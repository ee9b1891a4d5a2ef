"""What S3's operations share: the request, the answer, the bucket, and bytes on their way in."""

import json
import sqlite3
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

from builder.catalog.regions import AMAZON_ACCOUNT
from builder.region.errors import ServiceError
from builder.region.http import CHUNK, Body
from builder.region.identity import ACCOUNT
from builder.region.s3 import checksums
from builder.region.state import Incoming, Row, State

# The largest single PUT and the largest part.
LARGEST_PUT = 5 << 30
# Buckets are of the one user of this machine, whichever of the region's two accounts its calls come from.
OWNERS = (ACCOUNT, AMAZON_ACCOUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request."""

    state: State
    parameters: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Body
    anonymous: bool
    region: str

    @property
    def bucket(self) -> str:
        return str(self.parameters["Bucket"])

    @property
    def key(self) -> str:
        return str(self.parameters["Key"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Members of the operation's output; a stretch of files is its streamed body."""

    members: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    files: tuple[tuple[BinaryIO, int, int], ...] = ()
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def now() -> str:
    """The time as it is stored: whole seconds, since HTTP dates have no more."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def find_bucket(call: Call, name: str | None = None) -> Row:
    name = call.bucket if name is None else name
    row = call.state.row("SELECT * FROM buckets WHERE name = ?", (name,))
    if row is None:
        raise ServiceError("NoSuchBucket", "The specified bucket does not exist", {"BucketName": name})
    expected = call.parameters.get("ExpectedBucketOwner")
    if expected and expected not in OWNERS:
        raise ServiceError("AccessDenied", "Access Denied")
    return row


def limit_of(parameters: Mapping[str, Any], name: str, *, least: int = 1, most: int = 1000) -> int:
    """How many entries a page may have; S3 gives fewer than it is asked for, never more than `most`."""
    value = parameters.get(name)
    if value is not None and value < least:
        raise ServiceError("InvalidArgument", f"Argument {name} must be an integer between {least} and 2147483647")
    return most if value is None else min(int(value), most)


@contextmanager
def received(call: Call) -> Iterator[tuple[Incoming, dict[str, str]]]:
    """The request's bytes, in a file aside, and the checksums to store. All that the client claims was compared."""
    declared = call.headers.get("x-amz-decoded-content-length") or call.headers.get("Content-Length")
    if declared is not None and declared.isdecimal() and int(declared) > LARGEST_PUT:
        raise ServiceError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    algorithms = checksums.asked_for(call.headers, call.parameters, call.headers.get("x-amz-trailer", ""))
    hashes = {each: checksums.ALGORITHMS[each]() for each in algorithms if each != "SHA256"}
    with call.state.incoming(hashes) as incoming:
        while chunk := call.body.read(CHUNK):
            incoming.write(chunk)
            if incoming.size > LARGEST_PUT:
                raise ServiceError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        _compare(call, incoming)
        computed = checksums.texts(incoming.hashes, algorithms or ())
        checksums.compare({**call.headers, **call.body.trailers}, computed)
        yield incoming, computed


def _compare(call: Call, incoming: Incoming) -> None:
    """Content-MD5, the payload digest that was signed, and the length inside aws-chunked framing."""
    claimed = call.headers.get("Content-MD5")
    if claimed is not None:
        try:
            expected = b64decode(claimed, validate=True)
        except ValueError as error:
            raise ServiceError("InvalidDigest", "The Content-MD5 you specified was invalid.") from error
        if len(expected) != 16:
            raise ServiceError("InvalidDigest", "The Content-MD5 you specified was invalid.")
        if expected != incoming.hashes["MD5"].digest():
            raise ServiceError("BadDigest", "The Content-MD5 you specified did not match what we received.")
    signed = call.headers.get("x-amz-content-sha256", "")
    if len(signed) == 64 and signed.lower() != incoming.blob:
        raise ServiceError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            {"ClientComputedContentSHA256": signed, "S3ComputedContentSHA256": incoming.blob},
        )
    decoded = call.headers.get("x-amz-decoded-content-length")
    if call.body.framed and decoded is not None and decoded != str(incoming.size):
        raise ServiceError(
            "IncompleteBody", "You did not provide the number of bytes specified by x-amz-decoded-content-length"
        )


# What S3 keeps of a PUT and gives back with GET and HEAD, by botocore's names.
KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
# Asking for one of these asks for behaviour that the region does not have.
REFUSED = (
    "ServerSideEncryption", "SSECustomerAlgorithm", "SSECustomerKey", "SSEKMSKeyId", "SSEKMSEncryptionContext",
    "ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus", "ObjectLockEventHold",
    "WebsiteRedirectLocation", "WriteOffsetBytes", "Tagging", "VersionId", "MFA", "Expires",
)  # fmt: skip


def refuse_unkept(parameters: Mapping[str, Any]) -> None:
    """NotImplemented for what would otherwise be dropped in silence."""
    for name in REFUSED:
        value = parameters.get(name)
        if value in (None, "", "null") or (name, value) == ("ServerSideEncryption", "AES256"):
            continue
        raise ServiceError("NotImplemented", f"The local region does not keep {name}, so it does not take it")
    if parameters.get("StorageClass") not in (None, "STANDARD"):
        raise ServiceError("NotImplemented", "The local region has the storage class STANDARD only")


def attributes_of(parameters: Mapping[str, Any], encryption: Mapping[str, str]) -> str:
    """The attributes of a new object, as they are stored."""
    kept = {name: parameters[name] for name in KEPT if parameters.get(name)}
    encodings = [each.strip() for each in str(kept.get("ContentEncoding", "")).split(",")]
    remaining = ",".join(each for each in encodings if each and each != "aws-chunked")
    kept.pop("ContentEncoding", None)
    if remaining:
        kept["ContentEncoding"] = remaining
    metadata = {name.lower(): value for name, value in (kept.get("Metadata") or {}).items()}
    if sum(len(name) + len(value) for name, value in metadata.items()) > 2048:
        raise ServiceError("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
    kept |= encryption
    return json.dumps({**kept, "ContentType": kept.get("ContentType", "binary/octet-stream"), "Metadata": metadata})


def put_record(
    call: Call,
    database: sqlite3.Connection,
    *,
    etag: str,
    acl: str,
    attributes: str,
    checksums: Mapping[str, Any],
    pieces: list[tuple[str, int]],
) -> str:
    """Write an object's record over whatever has the call's key, inside the caller's transaction; returns its time."""
    bucket, key = find_bucket(call)["name"], call.key  # it may have gone while the bytes came in
    modified = now()
    database.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
    number = database.execute(
        "INSERT INTO objects (bucket, key, size, etag, modified, acl, attributes, checksums) VALUES (?,?,?,?,?,?,?,?)",
        (bucket, key, sum(size for _, size in pieces), etag, modified, acl, attributes, json.dumps(checksums)),
    ).lastrowid
    database.executemany(
        "INSERT INTO pieces VALUES (?, ?, ?, ?)",
        [(number, position, blob, size) for position, (blob, size) in enumerate(pieces)],
    )
    return modified


def check_key(key: str) -> None:
    if len(key.encode()) > 1024:
        raise ServiceError("KeyTooLongError", "Your key is too long", {"Size": str(len(key.encode()))})
    if "\0" in key:
        raise ServiceError("InvalidArgument", "A key holds no NUL")
