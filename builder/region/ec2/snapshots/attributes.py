"""DescribeSnapshotAttribute, ModifySnapshotAttribute, ResetSnapshotAttribute: who may make volumes of a snapshot."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from builder.region.ebs.record import Snapshot, default_key
from builder.region.ec2 import settings
from builder.region.ec2.region import Region
from builder.region.ec2.snapshots.describe import find_own_snapshot
from builder.region.errors import ServiceError

MOST = 500
"""Changes in one call (API reference, ModifySnapshotAttribute)."""
Permission = tuple[str, str]


def describe_snapshot_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = find_own_snapshot(region, str(wanted["SnapshotId"]))
    if wanted["Attribute"] == "productCodes":
        return {"SnapshotId": found.id, "ProductCodes": []}
    users = [{"UserId": each} for each in sorted(found.users)]
    return {"SnapshotId": found.id, "CreateVolumePermissions": users + ([{"Group": "all"}] if found.public else [])}


def modify_snapshot_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the permissions or remove from them, never both in one call."""
    if wanted.get("Attribute") not in (None, "createVolumePermission"):
        raise ServiceError(
            "InvalidParameterValue", f"Value ({wanted['Attribute']}) for parameter attribute cannot be modified"
        )
    adding, removing = _changes(wanted)
    with region.state.transaction() as database:
        found = find_own_snapshot(region, str(wanted["SnapshotId"]))
        if adding:
            _check_sharing(region, found, adding)
        database.executemany(
            "INSERT OR IGNORE INTO snapshot_permissions VALUES (?, ?, ?)", [(found.id, *each) for each in adding]
        )
        database.executemany(
            "DELETE FROM snapshot_permissions WHERE snapshot = ? AND kind = ? AND value = ?",
            [(found.id, *each) for each in removing],
        )
    return {}


def reset_snapshot_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    if wanted["Attribute"] != "createVolumePermission":
        raise ServiceError("InvalidParameterValue", "Only createVolumePermission can be reset")
    with region.state.transaction() as database:
        found = find_own_snapshot(region, str(wanted["SnapshotId"]))
        database.execute("DELETE FROM snapshot_permissions WHERE snapshot = ?", (found.id,))
    return {}


def _changes(wanted: Mapping[str, Any]) -> tuple[list[Permission], list[Permission]]:
    """What to add and what to remove, from either of the two ways to say it."""
    listed = wanted.get("CreateVolumePermission")
    if listed is not None:
        adding, removing = _named(listed.get("Add") or ()), _named(listed.get("Remove") or ())
    else:
        users = [{"UserId": each} for each in wanted.get("UserIds") or ()]
        named = _named(users + [{"Group": each} for each in wanted.get("GroupNames") or ()])
        operation = wanted.get("OperationType")
        if operation not in ("add", "remove"):
            raise ServiceError(
                "MissingParameter", "The request must contain the parameter OperationType: add or remove"
            )
        adding, removing = (named, []) if operation == "add" else ([], named)
    if not adding and not removing:
        raise ServiceError("InvalidParameterCombination", "No attributes specified.")
    if (adding and removing) or len(adding) + len(removing) > MOST:
        raise ServiceError(
            "InvalidParameterCombination", f"A call adds or removes, up to {MOST} accounts, and does not do both"
        )
    return adding, removing


def _named(entries: Iterable[Mapping[str, Any]]) -> list[Permission]:
    named = []
    for each in entries:
        user, group = each.get("UserId"), each.get("Group")
        if user is not None and re.fullmatch(r"\d{12}", user) is None:
            raise ServiceError("InvalidParameterValue", f"Value ({user}) for parameter UserId is invalid.")
        if group not in (None, "all") or (user is None and group is None):
            raise ServiceError("InvalidParameterValue", f"Value ({group or ''}) for parameter Group is invalid.")
        named += [("user", user)] if user is not None else []
        named += [("group", "all")] if group is not None else []
    return named


def _check_sharing(region: Region, snapshot: Snapshot, adding: Iterable[Permission]) -> None:
    public, encrypted = ("group", "all") in adding, snapshot.row["encrypted"]
    if public and (settings.get(region, settings.SNAPSHOTS_PUBLIC) or "unblocked") != "unblocked":
        raise ServiceError(
            "OperationNotPermitted", "You can't publicly share this snapshot because block public access is enabled."
        )
    if public and encrypted:
        raise ServiceError("OperationNotPermitted", "Encrypted snapshots cannot be shared publicly")
    if encrypted and snapshot.row["kms_key"] == default_key(region):
        raise ServiceError("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
