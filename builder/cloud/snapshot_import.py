"""ImportSnapshot: a snapshot of a disk image that lies in S3."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.cloud.ec2 import pauses
from builder.cloud.ec2_calls import call
from builder.cloud.errors import Client
from builder.errors import RegionError

_ROLE = "vmimport"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An ImportSnapshot request of a raw image; equal ones, by their token, make one task."""

    bucket: str
    key: str
    token: str
    description: str
    tags: Mapping[str, str]
    """Of the task; the snapshot gets none by itself."""
    encrypted: bool = False
    kms_key: str = ""

    def request(self) -> dict[str, Any]:
        place = {"S3Bucket": self.bucket, "S3Key": self.key}
        tags = [{"Key": key, "Value": self.tags[key]} for key in sorted(self.tags)]
        asked: dict[str, Any] = {
            "ClientToken": self.token,
            "Description": self.description,
            "DiskContainer": {"Format": "RAW", "UserBucket": place},
            "Encrypted": self.encrypted,
            "KmsKeyId": self.kms_key,
            "TagSpecifications": [{"ResourceType": "import-snapshot-task", "Tags": tags}],
        }
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An import as DescribeImportSnapshotTasks tells of it."""

    id: str
    status: str
    """active, completed, deleting or deleted."""
    percent: int
    message: str
    snapshot_id: str


def import_snapshot(client: Client, wanted: Import) -> str:
    """Begin an import; the id of its task. RegionError with what to do when EC2 has no role to read the image by."""
    about = f"the import of s3://{wanted.bucket}/{wanted.key}"
    try:
        return str(call(client, "import_snapshot", wanted.request(), about)["ImportTaskId"])
    except RegionError as error:
        if _ROLE in error.detail:
            error.hint = f"make the service role {_ROLE}, which lets EC2 read the bucket (VM Import/Export's manual "
            error.hint += "says how); or allow the EBS direct API, which needs no role: ebs:StartSnapshot, "
            error.hint += "ebs:PutSnapshotBlock and ebs:CompleteSnapshot"
        raise


def wait_imported(
    client: Client,
    task_id: str,
    *,
    heard: Callable[[Task], None] = lambda task: None,
    patience: float = 4 * 3600,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """The task, once its snapshot is made. RegionError when it fails, or is not done after `patience` seconds."""
    end, status = clock() + patience, "unknown"
    for pause in pauses():
        task = _look(client, task_id)
        if task is not None:
            heard(task)
            status = f"{task.status}, {task.percent}%"
            if task.status == "completed" and task.snapshot_id:
                return task
            if task.status in ("deleting", "deleted"):
                raise Failed(
                    f"{task_id} failed: {task.message or 'EC2 gives no reason'}",
                    hint="nothing of it is left; run it again",
                )
        if clock() + pause > end:
            break
        sleep(pause)
    raise RegionError(
        f"{task_id} is not completed after {patience:.0f} s ({status})",
        hint="nothing is lost: run the same command again to go on waiting",
    )


class Failed(RegionError):
    """The import ended without a snapshot."""


def _look(client: Client, task_id: str) -> Task | None:
    answer = call(client, "describe_import_snapshot_tasks", {"ImportTaskIds": [task_id]}, f"the import {task_id}")
    for each in answer.get("ImportSnapshotTasks", ()):
        told = each.get("SnapshotTaskDetail", {})
        percent = str(told.get("Progress", ""))
        return Task(
            id=task_id,
            status=told.get("Status", "unknown"),
            percent=int(percent) if percent.isdecimal() else 0,
            message=told.get("StatusMessage", ""),
            snapshot_id=told.get("SnapshotId", ""),
        )
    return None
