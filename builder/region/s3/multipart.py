"""Multipart uploads: parts are kept as they come, and completing joins their records, never their bytes."""

import hashlib
import json
import secrets
import sqlite3
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, BinaryIO

from builder.region.errors import ServiceError
from builder.region.http import CHUNK
from builder.region.s3 import access, checksums, settings
from builder.region.s3.call import (
    Call,
    Result,
    attributes_of,
    check_key,
    find_bucket,
    limit_of,
    now,
    put_record,
    received,
    refuse_unkept,
    time_of,
)
from builder.region.s3.objects import byte_range, check_write_conditions, copy_source, open_pieces
from builder.region.state import Row

# All parts but the last are at least this large.
SMALLEST_PART = 5 << 20
MOST_PARTS = 10_000


def create_upload(call: Call) -> Result:
    bucket = find_bucket(call)
    check_key(call.key)
    wanted = call.parameters
    refuse_unkept(wanted)
    algorithm = wanted.get("ChecksumAlgorithm") or ""
    kind = _checksum_type(algorithm, wanted.get("ChecksumType") or "")
    identifier = secrets.token_urlsafe(48)
    with call.state.transaction() as database:
        find_bucket(call)
        database.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                identifier,
                call.bucket,
                call.key,
                now(),
                json.dumps(list(access.requested(wanted, bucket))),
                attributes_of(wanted, settings.encryption_of(call)),
                algorithm,
                kind,
            ),
        )
    members = {"Bucket": call.bucket, "Key": call.key, "UploadId": identifier}
    if algorithm:
        members |= {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    return Result(members=members)


def _checksum_type(algorithm: str, wanted: str) -> str:
    if algorithm and algorithm not in checksums.ALGORITHMS:
        raise ServiceError("NotImplemented", f"The local region does not check {algorithm}, so it does not take it")
    default = "FULL_OBJECT" if algorithm in checksums.WHOLE_ONLY else "COMPOSITE"
    kind = wanted or default
    if (algorithm in checksums.WHOLE_ONLY and kind != "FULL_OBJECT") or (
        algorithm in checksums.PARTS_ONLY and kind != "COMPOSITE"
    ):
        raise ServiceError(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.",
        )
    return kind


def _find_upload(call: Call) -> Row:
    row = call.state.row(
        "SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
        (call.parameters["UploadId"], call.bucket, call.key),
    )
    if row is None:
        raise ServiceError(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted "
            "or completed.",
        )
    return row


def _part_number(call: Call) -> int:
    number = int(call.parameters["PartNumber"])
    if not 1 <= number <= MOST_PARTS:
        raise ServiceError("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    return number


def upload_part(call: Call) -> Result:
    find_bucket(call)
    _find_upload(call)
    number = _part_number(call)
    with received(call) as (incoming, computed):
        etag = incoming.hashes["MD5"].digest().hex()
        with call.state.transaction() as database:
            _find_upload(call)
            _put_part(call, database, number, call.state.keep(incoming), incoming.size, etag, computed)
    return Result(members={"ETag": f'"{etag}"', **{checksums.member(n): v for n, v in computed.items()}})


def _opened(call: Call, source: Row, start: int, length: int) -> tuple[tuple[BinaryIO, int, int], ...]:
    try:
        return open_pieces(call.state, source["id"], start, length)
    except FileNotFoundError as error:
        raise ServiceError("OperationAborted", "The source was replaced while it was copied. Try again.") from error


def _put_part(
    call: Call,
    database: sqlite3.Connection,
    number: int,
    blob: str,
    size: int,
    etag: str,
    computed: Mapping[str, str],
) -> str:
    modified = now()
    database.execute("DELETE FROM parts WHERE upload = ? AND number = ?", (call.parameters["UploadId"], number))
    database.execute(
        "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
        (call.parameters["UploadId"], number, blob, size, etag, modified, json.dumps(computed)),
    )
    return modified


def upload_part_copy(call: Call) -> Result:
    find_bucket(call)
    upload, number = _find_upload(call), _part_number(call)
    _, source = copy_source(call)
    wanted = call.parameters.get("CopySourceRange")
    start, length = byte_range(wanted, source["size"]) or (0, source["size"])
    algorithms = (upload["algorithm"],) if upload["algorithm"] else ()
    with call.state.incoming({each: checksums.ALGORITHMS[each]() for each in algorithms}) as incoming:
        for file, offset, left in _opened(call, source, start, length):
            with file:
                file.seek(offset)
                while left and (chunk := file.read(min(CHUNK, left))):
                    incoming.write(chunk)
                    left -= len(chunk)
        etag = incoming.hashes["MD5"].digest().hex()
        computed = checksums.texts(incoming.hashes, algorithms)
        with call.state.transaction() as database:
            _find_upload(call)
            blob = call.state.keep(incoming)
            modified = _put_part(call, database, number, blob, incoming.size, etag, computed)
    found = {checksums.member(name): value for name, value in computed.items()}
    return Result(members={"CopyPartResult": {"ETag": f'"{etag}"', "LastModified": time_of(modified), **found}})


def complete_upload(call: Call) -> Result:
    find_bucket(call)
    asked = (call.parameters.get("MultipartUpload") or {}).get("Parts") or ()
    upload = _find_upload(call)
    parts = _chosen_parts(call, asked)
    etag = hashlib.md5(b"".join(bytes.fromhex(each["etag"]) for each in parts), usedforsecurity=False).hexdigest()
    etag = f"{etag}-{len(parts)}"
    stored = _joined_checksum(call, upload, parts)
    _compare(call, stored, sum(each["size"] for each in parts))
    with call.state.transaction() as database:
        _find_upload(call)
        if _chosen_parts(call, asked) != parts:
            raise ServiceError("OperationAborted", "A part was uploaded again while the upload was completed.")
        check_write_conditions(call, database)
        put_record(
            call,
            database,
            etag=etag,
            acl=upload["acl"],
            attributes=upload["attributes"],
            checksums=stored,
            pieces=[(each["blob"], each["size"]) for each in parts],
        )
        database.execute("DELETE FROM uploads WHERE id = ?", (upload["id"],))
    found = {checksums.member(name): value for name, value in stored.items() if name not in ("type", "parts")}
    location = f"http://{call.headers.get('Host', '')}/{call.bucket}/{call.key}"
    members = {"Location": location, "Bucket": call.bucket, "Key": call.key, "ETag": f'"{etag}"', **found}
    return Result(members={**members, "ChecksumType": stored["type"]} if found else members)


def _compare(call: Call, stored: Mapping[str, Any], size: int) -> None:
    """What the client says of the whole object: its checksum (with or without the count of parts) and its size."""
    for name in checksums.ALGORITHMS:
        claimed = call.parameters.get(checksums.member(name))
        if claimed and claimed.partition("-")[0] != str(stored.get(name, "")).partition("-")[0]:
            raise ServiceError("BadDigest", f"The {name} you specified did not match the calculated checksum.")
    claimed_size = call.parameters.get("MpuObjectSize")
    if claimed_size is not None and int(claimed_size) != size:
        raise ServiceError(
            "InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was computed"
        )


def _chosen_parts(call: Call, asked: Any) -> list[Row]:
    """The parts that the client lists: in order, each one there, with the ETag and checksum that it says."""
    numbers = [each.get("PartNumber") for each in asked]
    if not asked or any(not isinstance(number, int) for number in numbers):
        raise ServiceError("MalformedXML", "You must specify at least one part")
    if numbers != sorted(set(numbers)):
        raise ServiceError("InvalidPartOrder", "The list of parts was not in ascending order.")
    query = "SELECT * FROM parts WHERE upload = ?"
    rows = {row["number"]: row for row in call.state.rows(query, (call.parameters["UploadId"],))}
    chosen = []
    for position, each in enumerate(asked):
        row = rows.get(each["PartNumber"])
        if row is None or str(each.get("ETag", "")).strip('"') != row["etag"]:
            raise ServiceError(
                "InvalidPart",
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag.",
            )
        for name, value in json.loads(row["checksums"]).items():
            if each.get(checksums.member(name), value) != value:
                raise ServiceError("InvalidPart", f"The {name} of part {row['number']} is not the one it was sent with")
        if row["size"] < SMALLEST_PART and position < len(asked) - 1:
            raise ServiceError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        chosen.append(row)
    return chosen


def _joined_checksum(call: Call, upload: Mapping[str, Any], parts: list[Row]) -> dict[str, Any]:
    """The object's checksum: of the parts' checksums, or of all bytes, which are read for it."""
    algorithm = upload["algorithm"]
    stored: dict[str, Any] = {"type": upload["checksum_type"], "parts": len(parts)}
    if not algorithm:
        return stored
    if upload["checksum_type"] == "COMPOSITE":
        missing = [each["number"] for each in parts if algorithm not in json.loads(each["checksums"])]
        if missing:
            raise ServiceError("InvalidRequest", f"Part {missing[0]} was uploaded without its {algorithm} checksum")
        texts = [json.loads(each["checksums"])[algorithm] for each in parts]
        return stored | {algorithm: checksums.of_parts(algorithm, texts)}
    whole = checksums.ALGORITHMS[algorithm]()
    for each in parts:
        try:
            file = call.state.blob(each["blob"]).open("rb")
        except FileNotFoundError as error:
            raise ServiceError(
                "OperationAborted", "A part was uploaded again while the upload was completed."
            ) from error
        with file:
            while chunk := file.read(CHUNK):
                whole.update(chunk)
    return stored | {algorithm: b64encode(whole.digest()).decode()}


def abort_upload(call: Call) -> Result:
    find_bucket(call)
    upload = _find_upload(call)
    with call.state.transaction() as database:
        database.execute("DELETE FROM uploads WHERE id = ?", (upload["id"],))
    return Result()


def list_parts(call: Call) -> Result:
    find_bucket(call)
    upload = _find_upload(call)
    limit = limit_of(call.parameters, "MaxParts")
    after = int(call.parameters.get("PartNumberMarker") or 0)
    rows = call.state.rows(
        "SELECT * FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?", (upload["id"], after, limit + 1)
    )
    shown = rows[:limit]
    members = {
        "Bucket": call.bucket,
        "Key": call.key,
        "UploadId": upload["id"],
        "Owner": access.OWNER,
        "Initiator": access.OWNER,
        "StorageClass": "STANDARD",
        "PartNumberMarker": after,
        "MaxParts": limit,
        "IsTruncated": len(rows) > limit,
        "Parts": [_shown_part(row) for row in shown],
    }
    if len(rows) > limit:
        members["NextPartNumberMarker"] = shown[-1]["number"]
    return Result(members=members)


def _shown_part(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {checksums.member(name): value for name, value in json.loads(row["checksums"]).items()}
    return {
        "PartNumber": row["number"],
        "LastModified": time_of(row["modified"]),
        "ETag": f'"{row["etag"]}"',
        "Size": row["size"],
        **found,
    }


def list_uploads(call: Call) -> Result:
    find_bucket(call)
    wanted = call.parameters
    if wanted.get("Delimiter"):
        raise ServiceError("NotImplemented", "The local region lists uploads without a delimiter only")
    limit = limit_of(wanted, "MaxUploads")
    after = (wanted.get("KeyMarker") or "", wanted.get("UploadIdMarker") or "")
    query = "SELECT * FROM uploads WHERE bucket = ? ORDER BY key, id"
    rows = [
        row
        for row in call.state.rows(query, (call.bucket,))
        if row["key"].startswith(wanted.get("Prefix") or "")
        and ((row["key"], row["id"]) > after if after[1] else row["key"] > after[0])
    ]
    shown = rows[:limit]
    members: dict[str, Any] = {
        "Bucket": call.bucket,
        "KeyMarker": after[0],
        "UploadIdMarker": after[1],
        "MaxUploads": limit,
        "IsTruncated": len(rows) > limit,
        "Uploads": [
            {
                "UploadId": row["id"],
                "Key": row["key"],
                "Initiated": time_of(row["initiated"]),
                "StorageClass": "STANDARD",
                "Owner": access.OWNER,
                "Initiator": access.OWNER,
            }
            for row in shown
        ],
    }
    if len(rows) > limit:
        members |= {"NextKeyMarker": shown[-1]["key"], "NextUploadIdMarker": shown[-1]["id"]}
    return Result(members=members)
