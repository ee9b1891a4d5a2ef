"""Objects: put, copied, read whole or in ranges, removed; their access control lists."""

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import unquote

from builder.region.errors import ServiceError
from builder.region.http import CHUNK
from builder.region.s3 import access, checksums, settings
from builder.region.s3.call import (
    Call,
    Result,
    attributes_of,
    check_key,
    find_bucket,
    put_record,
    received,
    refuse_unkept,
    time_of,
)
from builder.region.state import Row, State

REREADS = 100
"""An object that is overwritten between reading its record and opening its file is read again: the new record has a
file of its own. Not for ever: somebody may have removed files by hand."""


def put_object(call: Call) -> Result:
    bucket = find_bucket(call)
    check_key(call.key)
    refuse_unkept(call.parameters)
    acl = json.dumps(list(access.requested(call.parameters, bucket)))
    encryption = settings.encryption_of(call)
    attributes = attributes_of(call.parameters, encryption)
    with received(call) as (incoming, computed):
        etag = settings.etag_of(incoming.hashes["MD5"].digest().hex(), encryption)
        with call.state.transaction() as database:
            check_write_conditions(call, database)
            put_record(
                call,
                database,
                etag=etag,
                acl=acl,
                attributes=attributes,
                checksums={"type": "FULL_OBJECT", **computed},
                pieces=[(call.state.keep(incoming), incoming.size)],
            )
    members = {checksums.member(name): value for name, value in computed.items()}
    kind = {"ChecksumType": "FULL_OBJECT"} if computed else {}
    return Result(members={"ETag": f'"{etag}"', **encryption, **members, **kind})


def check_write_conditions(call: Call, database: sqlite3.Connection) -> None:
    """If-None-Match: * and If-Match, decided inside the transaction that writes."""
    forbidden, needed = call.parameters.get("IfNoneMatch"), call.parameters.get("IfMatch")
    if not forbidden and not needed:
        return
    query = "SELECT etag FROM objects WHERE bucket = ? AND key = ?"
    found = database.execute(query, (call.bucket, call.key)).fetchone()
    if forbidden and forbidden != "*":
        raise ServiceError("NotImplemented", "A PUT takes If-None-Match: * only")
    if needed and found is None:
        raise ServiceError("NoSuchKey", "The specified key does not exist.", {"Key": call.key})
    if (forbidden and found is not None) or (needed and needed.strip('"') != found["etag"]):
        raise ServiceError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def find_object(call: Call, bucket: str, key: str) -> Row:
    row = call.state.row("SELECT * FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
    if row is None:
        raise ServiceError("NoSuchKey", "The specified key does not exist.", {"Key": key})
    return row


def _readable(call: Call) -> tuple[Row, Row]:
    """The bucket and the object; without credentials only what is public, and no telling what is missing."""
    bucket = find_bucket(call)
    if not call.anonymous:
        return bucket, find_object(call, call.bucket, call.key)
    row = call.state.row("SELECT * FROM objects WHERE bucket = ? AND key = ?", (call.bucket, call.key))
    if row is not None and settings.anyone_may_read(call.state, bucket, row):
        return bucket, row
    raise ServiceError("AccessDenied", "Access Denied")


def described(row: Mapping[str, Any], *, with_checksums: bool) -> dict[str, Any]:
    """An object's own members of GetObject and HeadObject."""
    stored = json.loads(row["checksums"])
    kind = stored.pop("type")
    stored.pop("parts", None)
    members: dict[str, Any] = {
        **json.loads(row["attributes"]),
        "ETag": f'"{row["etag"]}"',
        "LastModified": time_of(row["modified"]),
        "AcceptRanges": "bytes",
    }
    if with_checksums and stored:
        members |= {checksums.member(name): value for name, value in stored.items()} | {"ChecksumType": kind}
    return members


# Members of GetObject's input that replace a header of its answer.
OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
}


def get_object(call: Call) -> Result:
    for _ in range(REREADS):
        with suppress(FileNotFoundError):
            return _read_object(call, with_content=True)
    raise ServiceError("InternalError", f"The bytes of {call.bucket}/{call.key} are not in the region's directory")


def head_object(call: Call) -> Result:
    return _read_object(call, with_content=False)


def _read_object(call: Call, *, with_content: bool) -> Result:
    wanted = call.parameters
    refuse_unkept({name: wanted.get(name) for name in ("SSECustomerAlgorithm", "VersionId")})
    _, row = _readable(call)
    _check_read_conditions(call, row)
    start, length = 0, row["size"]
    members: dict[str, Any] = {}
    status = 200
    if wanted.get("PartNumber") is not None:
        start, length, count = _part_of(call.state, row, int(wanted["PartNumber"]))
        members["PartsCount"] = count
        status = 206
    elif (found := byte_range(wanted.get("Range"), row["size"])) is not None:
        start, length = found
        status = 206
    if status == 206:
        members["ContentRange"] = f"bytes {start}-{start + length - 1}/{row['size']}"
    checked = wanted.get("ChecksumMode") == "ENABLED" and status == 200
    members = {**described(row, with_checksums=checked), **members, "ContentLength": length}
    members |= {own: wanted[name] for name, own in OVERRIDES.items() if wanted.get(name)}
    if not with_content:
        return Result(members=members, status=status, length=length)
    return Result(members=members, status=status, files=open_pieces(call.state, row["id"], start, length))


def _check_read_conditions(call: Call, row: Mapping[str, Any]) -> None:
    wanted = call.parameters
    etags = {f'"{row["etag"]}"', row["etag"], "*"}
    modified = time_of(row["modified"])

    def given(name: str) -> datetime | None:
        value = wanted.get(name)
        return value.replace(tzinfo=UTC) if value is not None else None

    if wanted.get("IfMatch"):
        failed = not etags & set(re.split(r",\s*", wanted["IfMatch"]))
    else:
        since = given("IfUnmodifiedSince")
        failed = since is not None and modified > since
    if failed:
        raise ServiceError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    if wanted.get("IfNoneMatch"):
        unchanged = bool(etags & set(re.split(r",\s*", wanted["IfNoneMatch"])))
    else:
        since = given("IfModifiedSince")
        unchanged = since is not None and modified <= since
    if unchanged:
        raise ServiceError("NotModified", "Not Modified")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and length of `bytes=A-B`, `A-` or `-N`; None when there is no (valid) one and all is sent."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        length = min(int(last) + 1 if last else size, size) - start
    if length <= 0:
        raise ServiceError(
            "InvalidRange",
            "The requested range is not satisfiable",
            {"RangeRequested": str(header), "ActualObjectSize": str(size)},
        )
    return start, length


def pieces_of(state: State, number: int) -> list[tuple[str, int]]:
    rows = state.rows("SELECT blob, size FROM pieces WHERE object = ? ORDER BY position", (number,))
    return [(row["blob"], row["size"]) for row in rows]


def open_pieces(state: State, number: int, start: int, length: int) -> tuple[tuple[BinaryIO, int, int], ...]:
    """Open files for a stretch of an object, so that removing it meanwhile does no harm."""
    opened: list[tuple[BinaryIO, int, int]] = []
    pieces = pieces_of(state, number)
    if not pieces:
        raise FileNotFoundError(f"object {number} was replaced")
    with ExitStack() as stack:
        for blob, size in pieces:
            if start < size and length > 0:
                taken = min(size - start, length)
                opened.append((stack.enter_context(state.blob(blob).open("rb")), start, taken))
                length -= taken
            start = max(0, start - size)
        stack.pop_all()
    return tuple(opened)


def _part_of(state: State, row: Mapping[str, Any], number: int) -> tuple[int, int, int]:
    """Start and length of one part of an object, and how many parts there are."""
    pieces = pieces_of(state, row["id"])
    if not 1 <= number <= len(pieces):
        raise ServiceError("InvalidPartNumber", "The requested partnumber is not satisfiable")
    return sum(size for _, size in pieces[: number - 1]), pieces[number - 1][1], len(pieces)


def delete_object(call: Call) -> Result:
    """Removing what is not there succeeds, as in S3."""
    find_bucket(call)
    refuse_unkept({name: call.parameters.get(name) for name in ("VersionId", "MFA")})
    with call.state.transaction() as database:
        check_write_conditions(call, database)
        database.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (call.bucket, call.key))
    return Result()


def delete_objects(call: Call) -> Result:
    find_bucket(call)
    wanted = call.parameters["Delete"]
    keys = wanted.get("Objects") or ()
    if not 1 <= len(keys) <= 1000 or any(not each.get("Key") for each in keys):
        raise ServiceError("MalformedXML", "The XML you provided did not validate: 1 to 1000 keys")
    for each in keys:
        refuse_unkept({"VersionId": each.get("VersionId")})
    with call.state.transaction() as database:
        database.executemany(
            "DELETE FROM objects WHERE bucket = ? AND key = ?", [(call.bucket, each["Key"]) for each in keys]
        )
    return Result(members={} if wanted.get("Quiet") else {"Deleted": [{"Key": each["Key"]} for each in keys]})


def copy_source(call: Call) -> tuple[Row, Row]:
    """The bucket and object that x-amz-copy-source names, its conditions met."""
    path, _, query = str(call.parameters["CopySource"]).partition("?")
    if query.startswith("versionId=") and query != "versionId=null":
        raise ServiceError("NotImplemented", "The local region keeps no versions")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise ServiceError("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/key")
    source = find_bucket(call, bucket)
    row = find_object(call, bucket, key)
    matching, excluding = call.parameters.get("CopySourceIfMatch"), call.parameters.get("CopySourceIfNoneMatch")
    if (matching and matching.strip('"') != row["etag"]) or (excluding and excluding.strip('"') == row["etag"]):
        raise ServiceError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    for name in ("CopySourceIfModifiedSince", "CopySourceIfUnmodifiedSince"):
        if call.parameters.get(name) is not None:
            raise ServiceError("NotImplemented", f"The local region does not look at {name}")
    return source, row


def copy_object(call: Call) -> Result:
    """A new record over the same bytes. The access control list is set anew: copies never keep it."""
    bucket = find_bucket(call)
    check_key(call.key)
    refuse_unkept(call.parameters)
    acl = json.dumps(list(access.requested(call.parameters, bucket)))
    replacing = call.parameters.get("MetadataDirective", "COPY") == "REPLACE"
    encryption = settings.encryption_of(call)
    with call.state.transaction() as database:
        _, source = copy_source(call)
        if (source["bucket"], source["key"]) == (call.bucket, call.key) and not replacing:
            raise ServiceError(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes.",
            )
        stored = _checksums_of_copy(call, source)
        etag = settings.etag_of(source["etag"], encryption)
        attributes = call.parameters if replacing else json.loads(source["attributes"])
        modified = put_record(
            call,
            database,
            etag=etag,
            acl=acl,
            attributes=attributes_of(attributes, encryption),
            checksums=stored,
            pieces=pieces_of(call.state, source["id"]),
        )
    found = {checksums.member(name): value for name, value in stored.items() if name not in ("type", "parts")}
    result = {"ETag": f'"{etag}"', "LastModified": time_of(modified), **found}
    return Result(members={"CopyObjectResult": result, **encryption})


def _checksums_of_copy(call: Call, source: Row) -> dict[str, Any]:
    """The source's own checksums, or the one that is asked for, computed over the whole object."""
    stored: dict[str, Any] = json.loads(source["checksums"])
    algorithm = call.parameters.get("ChecksumAlgorithm")
    if not algorithm or (algorithm in stored and stored["type"] == "FULL_OBJECT"):
        return stored
    checksums.asked_for({}, {"ChecksumAlgorithm": algorithm})
    computed = checksums.ALGORITHMS[algorithm]()
    for file, _, _ in open_pieces(call.state, source["id"], 0, source["size"]):
        with file:
            while chunk := file.read(CHUNK):
                computed.update(chunk)
    return {"type": "FULL_OBJECT", **checksums.texts({algorithm: computed}, [algorithm])}


def get_object_acl(call: Call) -> Result:
    bucket = find_bucket(call)
    return Result(members=access.described(find_object(call, call.bucket, call.key)["acl"], bucket))


def put_object_acl(call: Call) -> Result:
    bucket = find_bucket(call)
    find_object(call, call.bucket, call.key)
    grants = access.requested(call.parameters, bucket)
    with call.state.transaction() as database:
        database.execute(
            "UPDATE objects SET acl = ? WHERE bucket = ? AND key = ?",
            (json.dumps(list(grants)), call.bucket, call.key),
        )
    return Result()


def get_attributes(call: Call) -> Result:
    find_bucket(call)
    row = find_object(call, call.bucket, call.key)
    wanted: Iterable[str] = call.parameters["ObjectAttributes"]
    stored = json.loads(row["checksums"])
    kind, parts = stored.pop("type"), stored.pop("parts", None)
    members: dict[str, Any] = {"LastModified": time_of(row["modified"])}
    if "ETag" in wanted:
        members["ETag"] = row["etag"]
    if "Checksum" in wanted and stored:
        members["Checksum"] = {checksums.member(name): value for name, value in stored.items()} | {"ChecksumType": kind}
    if "ObjectSize" in wanted:
        members["ObjectSize"] = row["size"]
    if "StorageClass" in wanted:
        members["StorageClass"] = "STANDARD"
    if "ObjectParts" in wanted and parts:
        members["ObjectParts"] = {"TotalPartsCount": parts}
    return Result(members=members)
