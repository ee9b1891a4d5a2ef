"""DescribeSnapshots."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.region.course import Course
from builder.region.ebs import record
from builder.region.ebs.record import BLOCK, Snapshot
from builder.region.ec2.filters import matching
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region, timestamp
from builder.region.ec2.tags import described_tags, tags_in
from builder.region.errors import ServiceError

NO_VOLUME = "vol-ffffffff"
"""What EC2 says of snapshots that were not made of a volume."""
SNAPSHOT_ID = re.compile(r"snap-([0-9a-f]{8}|[0-9a-f]{17})")


def find_snapshot(region: Region, snapshot_id: str) -> Snapshot:
    """The snapshot, the caller's own or shared with it. EC2's errors for an id that is none, and one that is not
    there."""
    if SNAPSHOT_ID.fullmatch(snapshot_id) is None:
        raise ServiceError(
            "InvalidParameterValue", f"Value ({snapshot_id}) for parameter snapshotId is invalid. Expected: 'snap-...'."
        )
    found = record.find(region, snapshot_id)
    if found is None:
        raise ServiceError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    return found


def find_own_snapshot(region: Region, snapshot_id: str) -> Snapshot:
    found = find_snapshot(region, snapshot_id)
    if found.owner != region.account:
        raise ServiceError("UnauthorizedOperation", "You are not authorized to perform this operation.")
    return found


def described(snapshot: Snapshot, used: int) -> dict[str, Any]:
    """As DescribeSnapshots has it. `used`: how many blocks there are in it."""
    row, standing = snapshot.row, snapshot.standing()
    completed = Course.parse(row["course"]).end if standing.state == "completed" else None
    optional = {
        "KmsKeyId": row["kms_key"],
        "StateMessage": standing.reason,
        "OwnerAlias": AMAZON if snapshot.owner == AMAZON_ACCOUNT else None,
        "CompletionTime": timestamp(datetime.fromtimestamp(completed, UTC)) if completed is not None else None,
        "Tags": described_tags(snapshot.tags),
        "TransferType": "standard" if row["origin"] else None,
    }
    return {
        "SnapshotId": snapshot.id,
        "VolumeId": NO_VOLUME,
        "State": standing.state,
        "StartTime": row["started"],
        "Progress": f"{standing.percent}%",
        "OwnerId": snapshot.owner,
        "Description": row["description"],
        "VolumeSize": snapshot.volume_size,
        "Encrypted": bool(row["encrypted"]),
        "StorageTier": "standard",
        "FullSnapshotSizeInBytes": used * BLOCK,
        **{name: value for name, value in optional.items() if value},
    }


def _member(name: str) -> Callable[[dict[str, Any]], Iterable[str]]:
    def values(snapshot: dict[str, Any]) -> Iterable[str]:
        value = snapshot.get(name)
        if value is None:
            return ()
        return (str(value).lower(),) if isinstance(value, bool) else (str(value),)

    return values


# All that the API reference lists for DescribeSnapshots.
FILTERS: Mapping[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    "description": _member("Description"),
    "encrypted": _member("Encrypted"),
    "owner-alias": _member("OwnerAlias"),
    "owner-id": _member("OwnerId"),
    "progress": _member("Progress"),
    "snapshot-id": _member("SnapshotId"),
    "start-time": _member("StartTime"),
    "status": _member("State"),
    "storage-tier": _member("StorageTier"),
    "tag-key": lambda snapshot: [each["Key"] for each in snapshot.get("Tags", ())],
    "transfer-type": _member("TransferType"),
    "volume-id": _member("VolumeId"),
    "volume-size": _member("VolumeSize"),
}


def describe_snapshots(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the caller may use, in the order in which they were begun."""
    ids = wanted.get("SnapshotIds") or ()
    found = [each for each in _all(region) if each.may_be_used_by(region.account)]
    for each in ids:
        find_snapshot(region, each)
    if ids:
        found = [each for each in found if each.id in ids]
    if owners := [_account(region, each, (AMAZON,)) for each in wanted.get("OwnerIds") or ()]:
        owners = [AMAZON_ACCOUNT if each == AMAZON else each for each in owners]
        found = [each for each in found if each.owner in owners]
    if users := [_account(region, each, ("all",)) for each in wanted.get("RestorableByUserIds") or ()]:
        found = [each for each in found if any(_restorable(region, each, user) for user in users)]
    used = {
        row["snapshot"]: row["blocks"]
        for row in region.state.rows("SELECT snapshot, count(*) AS blocks FROM snapshot_blocks GROUP BY snapshot")
    }
    told = [described(each, used.get(each.id, 0)) for each in found]
    told = matching(told, wanted.get("Filters") or (), FILTERS, tags_in)
    shown, token = page(told, wanted, lambda each: each["SnapshotId"], least=5, most=1000)
    return {"Snapshots": list(shown), **token}


def _all(region: Region) -> list[Snapshot]:
    rows = region.state.rows("SELECT * FROM snapshots WHERE region = ? ORDER BY started, id", (region.name,))
    return record.gathered(region, rows) if rows else []


def _account(region: Region, name: str, words: tuple[str, ...]) -> str:
    if name == "self":
        return region.account
    if name not in words and re.fullmatch(r"\d{12}", name) is None:
        raise ServiceError("InvalidUserID.Malformed", f'Invalid user id: "{name}"')
    return name


def _restorable(region: Region, snapshot: Snapshot, user: str) -> bool:
    """`self` is what one owns or was given by name; another account what its owner gave it."""
    if user == "all":
        return snapshot.public
    return user in snapshot.users or (user == region.account and snapshot.owner == user)
