"""Snapshots as EC2 tells of them: found by tag, waited for, tagged, removed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from builder.cloud.ec2 import KEY_TAG, literal, pauses
from builder.cloud.ec2_calls import Answer
from builder.cloud.errors import Client, aws_command, refused_with
from builder.cloud.patience import patience_for, patiently
from builder.errors import RegionError

LINEAGE_TAG = "ami-factory:lineage"
"""Name of the variant that a snapshot is one of; the newest of a lineage is the next one's parent."""
BLOCKS_TAG = "ami-factory:blocks"
"""SHA-256 of the snapshot's own list of blocks (stages/snapshot/lists.py)."""
PARENT_TAG = "ami-factory:parent"
"""Id of the snapshot that it was started from; empty for a full one. EC2 itself does not tell it."""
ENCRYPTION_TAG = "ami-factory:encryption"
"""What was asked for: none, default (the account's own key), or the ARN of a key."""

_FILTER_VALUES = 200
_NOT_THERE = {"InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed"}
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot as DescribeSnapshots tells of it."""

    id: str
    state: str
    """pending, completed, error, recoverable or recovering."""
    volume_size: int
    """GiB"""
    encrypted: bool
    kms_key: str
    started: datetime
    progress: str = ""
    """Such as 42%; empty when EC2 does not say."""
    reason: str = ""
    """Why its state is what it is, when EC2 says so."""
    archived: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.tags.get(KEY_TAG, "")


def snapshots_by_key(client: Client, keys: Iterable[str]) -> dict[str, tuple[Snapshot, ...]]:
    """The caller's own snapshots that the steps of these keys made, the oldest first, whatever their state."""
    found: dict[str, list[Snapshot]] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _FILTER_VALUES):
        for each in _described(client, {f"tag:{KEY_TAG}": wanted[start : start + _FILTER_VALUES]}):
            found.setdefault(each.key, []).append(each)
    return {key: tuple(sorted(several, key=lambda each: (each.started, each.id))) for key, several in found.items()}


def snapshots_of_lineage(client: Client, lineage: str) -> tuple[Snapshot, ...]:
    """The caller's own completed snapshots of a lineage, the newest first."""
    found = _described(client, {f"tag:{LINEAGE_TAG}": [literal(lineage)], "status": ["completed"]})
    return tuple(sorted(found, key=lambda each: (each.started, each.id), reverse=True))


def snapshot(client: Client, snapshot_id: str) -> Snapshot | None:
    """The snapshot of that id; None when there is none, or none yet."""
    try:
        answer = _asked(client, "describe_snapshots", {"SnapshotIds": [snapshot_id]}, f"the snapshot {snapshot_id}")
    except RegionError as error:
        if _not_there(error):
            return None
        raise
    return next(map(_snapshot, answer["Snapshots"]), None)


def root_snapshot(client: Client, image_id: str) -> str:
    """The snapshot that the root volume of an AMI is made from. RegionError when it has none."""
    answer = _asked(client, "describe_images", {"ImageIds": [image_id]}, f"the AMI {image_id}")
    for image in answer["Images"]:
        for mapping in image.get("BlockDeviceMappings", ()):
            found = mapping.get("Ebs", {}).get("SnapshotId")
            if found and mapping.get("DeviceName") == image.get("RootDeviceName"):
                return str(found)
        raise RegionError(
            f"{image_id} has no snapshot: its root device is {image.get('RootDeviceType', 'not of EBS')}",
            hint="of an instance store AMI fetch the bundle instead: ec2-download-bundle, ec2-unbundle",
        )
    raise RegionError(f"there is no AMI {image_id} in {client.meta.region_name}", hint="look at the id and --region")


def wait_completed(
    client: Client,
    snapshot_id: str,
    *,
    heard: Callable[[Snapshot], None] = lambda found: None,
    patience: float = 3600,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Snapshot:
    """The snapshot, once it is completed. RegionError when it fails, or is not completed after `patience` seconds.

    One that EC2 does not know yet is waited for like a pending one. `heard` is told of every look.
    """
    end, state = clock() + patience, "unknown"
    for pause in pauses():
        found = snapshot(client, snapshot_id)
        if found is not None:
            heard(found)
            state = f"{found.state} {found.progress}".strip()
            if found.state == "completed":
                return found
            if found.state == "error":
                raise failed(client, found)
        if clock() + pause > end:
            break
        sleep(pause)
    raise RegionError(
        f"{snapshot_id} is not completed after {patience:.0f} s (state {state})",
        hint="nothing is lost: run the same command again to go on waiting",
    )


def failed(client: Client, found: Snapshot) -> RegionError:
    """The snapshot went to error, and why."""
    return RegionError(
        f"{found.id} went to the state error",
        detail=found.reason or "EC2 gives no reason.",
        hint="run it again: it is removed, and another one is made. Or remove it yourself: "
        + aws_command(client, f"ec2 delete-snapshot --snapshot-id {found.id}"),
    )


def tag_snapshot(client: Client, snapshot_id: str, tags: Mapping[str, str]) -> None:
    asked = {"Resources": [snapshot_id], "Tags": [{"Key": key, "Value": tags[key]} for key in sorted(tags)]}
    _asked(client, "create_tags", asked, f"the snapshot {snapshot_id}")


def delete_snapshot(client: Client, snapshot_id: str) -> None:
    """Remove a snapshot; no error when it is not there."""
    try:
        _asked(client, "delete_snapshot", {"SnapshotId": snapshot_id}, f"the snapshot {snapshot_id}")
    except RegionError as error:
        if not _not_there(error):
            raise


def _described(client: Client, filters: Mapping[str, Sequence[str]]) -> list[Snapshot]:
    asked: dict[str, Any] = {"OwnerIds": ["self"]}
    asked["Filters"] = [{"Name": name, "Values": list(values)} for name, values in filters.items()]
    found: list[Snapshot] = []
    while True:
        answer = _asked(client, "describe_snapshots", asked, "the snapshots of your account")
        found += map(_snapshot, answer["Snapshots"])
        if not answer.get("NextToken"):
            return found
        asked["NextToken"] = answer["NextToken"]


def _asked(client: Client, operation: str, asked: Mapping[str, Any], about: str) -> Answer:
    """The answer. What botocore gave up is tried some more: a look must not cost an upload."""

    def ask() -> Answer:
        answer: Answer = getattr(client, operation)(**asked)
        return answer

    return patiently(ask, client=client, about=about, patience=patience_for(client.meta.endpoint_url))


def _not_there(error: RegionError) -> bool:
    return refused_with(error) in _NOT_THERE


def _snapshot(each: Answer) -> Snapshot:
    return Snapshot(
        id=each["SnapshotId"],
        state=each.get("State", ""),
        volume_size=each.get("VolumeSize", 0),
        encrypted=bool(each.get("Encrypted")),
        kms_key=each.get("KmsKeyId", ""),
        started=each.get("StartTime", _EPOCH),
        progress=each.get("Progress", ""),
        reason=each.get("StateMessage", ""),
        archived=each.get("StorageTier") == "archive",
        tags={tag["Key"]: tag["Value"] for tag in each.get("Tags", ())},
    )
