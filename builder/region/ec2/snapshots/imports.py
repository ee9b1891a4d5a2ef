"""ImportSnapshot: a raw disk in S3 becomes a snapshot. DescribeImportSnapshotTasks, CancelImportTask.

The disk is read while the call lasts, so that a task is there with all that it needs or not at all; how long it then
seems to take is its course.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

from builder.region.course import Course
from builder.region.ebs import record
from builder.region.ebs.record import BLOCK, default_key
from builder.region.ec2 import settings
from builder.region.ec2.filters import matching
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region, new_id, timestamp
from builder.region.ec2.snapshots.change import remove
from builder.region.ec2.snapshots.copy import key_arn
from builder.region.ec2.tags import add_tags, check_tags, described_tags, tags_in, tags_of_specifications
from builder.region.errors import ServiceError
from builder.region.s3.objects import open_pieces
from builder.region.state import Row

ZEROS = bytes(BLOCK)
TASK_ID = re.compile(r"import-snap-[0-9a-f]{8,17}")
_REQUEST = ("DiskContainer", "Description", "Encrypted", "KmsKeyId")


def import_snapshot(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A task of the caller's, which is the snapshot's course."""
    request = json.dumps({name: wanted.get(name) for name in _REQUEST}, sort_keys=True)
    token = wanted.get("ClientToken")
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "import-snapshot-task")
    check_tags(tags)
    if token and (other := _with_token(region, token, request)):
        return _described(region, other)
    bucket, key = _place(wanted.get("DiskContainer") or {})
    encrypted = _encryption(region, wanted)
    source = _source(region, bucket, key)
    with ExitStack() as stack:
        staged = [
            (position, digest, stack.enter_context(region.state.set_aside(content, digest)))
            for position, digest, content in _blocks(region, source)
        ]
        disk = _Disk(bucket, key, source, encrypted)
        return _described(region, _taken_up(region, wanted, request, tags, disk, staged))


class _Disk(NamedTuple):
    bucket: str
    key: str
    row: Row
    encrypted: str | None
    """The key of it."""


def _taken_up(
    region: Region,
    wanted: Mapping[str, Any],
    request: str,
    tags: Mapping[str, str],
    disk: _Disk,
    staged: list[tuple[int, str, Callable[[], None]]],
) -> Row:
    """Task, snapshot and blocks, in one transaction; or the task that came first with this token."""
    token, encrypted, source = wanted.get("ClientToken"), disk.encrypted, disk.row
    course = region.faults.course("ec2", "ImportSnapshot", region.name)
    task_id = new_id("import-snap")
    detail = {
        "DiskImageSize": float(source["size"]),
        "Encrypted": encrypted is not None,
        "Format": "RAW",
        "UserBucket": {"S3Bucket": disk.bucket, "S3Key": disk.key},
        **(
            {"Description": wanted["DiskContainer"]["Description"]}
            if wanted["DiskContainer"].get("Description")
            else {}
        ),
        **({"KmsKeyId": encrypted} if encrypted else {}),
    }
    with region.state.transaction() as database:
        if token and (other := _with_token(region, token, request)):
            return other
        snapshot_id = new_id("snap")
        started = timestamp(datetime.now(UTC))
        record.insert(
            region,
            database,
            id=snapshot_id,
            volume_size=max(1, -(-source["size"] // (1 << 30))),
            started=started,
            description=wanted.get("Description") or f"Created by AWS-VMImport service for {task_id}",
            encrypted=encrypted is not None,
            kms_key=encrypted,
            course=course,
            origin="import",
        )
        for position, digest, keep in staged:
            keep()
            database.execute("INSERT INTO snapshot_blocks VALUES (?, ?, ?, 1)", (snapshot_id, position, digest))
        add_tags(database, task_id, tags)
        database.execute(
            "INSERT INTO import_tasks VALUES (?, ?, ?, ?, ?, ?, ?, 'active', '', ?, ?)",
            (
                task_id, region.name, region.account, started, snapshot_id, token, request, course.text(),
                json.dumps({"Description": wanted.get("Description"), "Detail": detail}),
            ),
        )  # fmt: skip
    return _find(region, task_id)


def _place(container: Mapping[str, Any]) -> tuple[str, str]:
    """Bucket and key of the disk."""
    format = str(container.get("Format") or "")
    if format.upper() != "RAW":
        raise ServiceError(
            "InvalidParameter", f"The local region imports RAW disks; '{format}' is none" if format else "Format is RAW"
        )
    its = container.get("UserBucket")
    if its is not None:
        bucket, key = str(its.get("S3Bucket") or ""), str(its.get("S3Key") or "")
    else:
        match = re.fullmatch(r"s3://([^/]+)/(.+)", str(container.get("Url") or ""))
        bucket, key = (match[1], match[2]) if match else ("", "")
    if not bucket or not key:
        raise ServiceError("InvalidParameter", "The disk is named by a UserBucket, or a Url like s3://bucket/key")
    return bucket, key


def _encryption(region: Region, wanted: Mapping[str, Any]) -> str | None:
    if wanted.get("KmsKeyId") and not wanted.get("Encrypted"):
        raise ServiceError("InvalidParameterCombination", "KmsKeyId needs Encrypted to be true")
    if not wanted.get("Encrypted") and not settings.encrypts(region):
        return None
    return key_arn(region, str(wanted["KmsKeyId"])) if wanted.get("KmsKeyId") else default_key(region)


def _source(region: Region, bucket: str, key: str) -> Row:
    row = region.state.row("SELECT * FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
    if row is None:
        raise ServiceError("InvalidParameter", f"The given S3 object does not exist: s3://{bucket}/{key}")
    if row["size"] == 0:
        raise ServiceError("ClientError", "Disk validation failed [The disk is empty]")
    return row


def _blocks(region: Region, source: Row) -> Iterator[tuple[int, str, bytes]]:
    """The blocks of a disk that are not all zeros: position, SHA-256, bytes. The last one is filled up with zeros."""
    try:
        opened = open_pieces(region.state, source["id"], 0, source["size"])
    except FileNotFoundError as error:
        raise ServiceError("InvalidParameter", "The S3 object was replaced while it was read") from error
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file, _, _ in opened]
        position, pending = 0, b""
        for file in files:
            while piece := file.read(BLOCK - len(pending)):
                pending += piece
                if len(pending) == BLOCK:
                    if pending != ZEROS:
                        yield position, hashlib.sha256(pending).hexdigest(), pending
                    position, pending = position + 1, b""
        if pending.strip(b"\0"):
            pending = pending.ljust(BLOCK, b"\0")
            yield position, hashlib.sha256(pending).hexdigest(), pending


def _with_token(region: Region, token: str, request: str) -> Row | None:
    query = "SELECT * FROM import_tasks WHERE region = ? AND owner = ? AND client_token = ?"
    row = region.state.row(query, (region.name, region.account, token))
    if row is not None and row["request"] != request:
        raise ServiceError(
            "IdempotentParameterMismatch", "The client token was used by a request with other parameters."
        )
    return row


def _find(region: Region, task_id: str) -> Row:
    if TASK_ID.fullmatch(task_id) is None:
        raise ServiceError("InvalidConversionTaskId.Malformed", f"The ID '{task_id}' is not valid")
    query = "SELECT * FROM import_tasks WHERE id = ? AND region = ? AND owner = ?"
    row = region.state.row(query, (task_id, region.name, region.account))
    if row is None:
        raise ServiceError("InvalidConversionTaskId", f"The conversion task ID '{task_id}' does not exist")
    return row


def _described(region: Region, row: Row) -> dict[str, Any]:
    """As ImportSnapshot answers and DescribeImportSnapshotTasks lists it."""
    told = json.loads(row["record"])
    standing = Course.parse(row["course"]).standing()
    detail = dict(told["Detail"])
    if row["state"] != "active":
        detail |= {"Status": row["state"], "StatusMessage": row["message"]}
    elif standing.state == "completed":
        detail |= {"Status": "completed", "SnapshotId": row["snapshot"]}
    elif standing.state == "error":
        detail |= {"Status": "deleted", "StatusMessage": standing.reason or "ClientError: Disk validation failed"}
    else:
        detail |= {"Status": "active", "StatusMessage": "converting", "Progress": str(standing.percent)}
    query = "SELECT key, value FROM tags WHERE resource = ?"
    tags = {tag["key"]: tag["value"] for tag in region.state.rows(query, (row["id"],))}
    return {
        "ImportTaskId": row["id"],
        "SnapshotTaskDetail": detail,
        **({"Description": told["Description"]} if told["Description"] else {}),
        **({"Tags": described_tags(tags)} if tags else {}),
    }


def describe_import_snapshot_tasks(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    ids = wanted.get("ImportTaskIds") or ()
    query = "SELECT * FROM import_tasks WHERE region = ? AND owner = ? ORDER BY created, id"
    rows = [_find(region, each) for each in ids] or region.state.rows(query, (region.name, region.account))
    told = [_described(region, row) for row in rows]
    values = {"task-state": lambda each: [each["SnapshotTaskDetail"]["Status"]]}
    told = matching(told, wanted.get("Filters") or (), values, tags_in)
    shown, token = page(told, wanted, lambda each: str(each["ImportTaskId"]), least=1, most=1000)
    return {"ImportSnapshotTasks": list(shown), **token}


def cancel_import_task(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """End a task that is not done; its snapshot goes."""
    task_id = str(wanted.get("ImportTaskId") or "")
    with region.state.transaction() as database:
        row = _find(region, task_id)
        before = _described(region, row)["SnapshotTaskDetail"]["Status"]
        if before != "active":
            raise ServiceError("IncorrectState", f"The task {task_id} is {before}")
        reason = wanted.get("CancelReason") or "Cancelled by user"
        database.execute("UPDATE import_tasks SET state = 'deleted', message = ? WHERE id = ?", (reason, task_id))
        remove(region, row["snapshot"])
    return {"ImportTaskId": task_id, "PreviousState": "active", "State": "deleted"}
