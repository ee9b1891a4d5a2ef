"""ListSnapshotBlocks, ListChangedBlocks, GetSnapshotBlock: of completed snapshots, one's own and shared ones."""

import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.region.ebs import record, tokens
from builder.region.ebs.record import BLOCK, Snapshot, invalid, unknown
from builder.region.ec2.region import Region

LARGEST_PAGE = 10_000


def _completed(region: Region, identifier: str) -> Snapshot:
    found = record.find(region, identifier)
    if found is None:
        raise unknown(identifier)
    if found.standing().state != "completed":
        raise invalid("INVALID_SNAPSHOT_ID", f"The snapshot {identifier} is not completed")
    return found


def _begin(region: Region, wanted: Mapping[str, Any], purpose: str) -> int:
    token = wanted.get("NextToken")
    return tokens.position_of(region, token, purpose) if token else wanted.get("StartingBlockIndex") or 0


def list_blocks(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    identifier = wanted["SnapshotId"]
    found = _completed(region, identifier)
    begin, most = _begin(region, wanted, identifier), wanted.get("MaxResults") or LARGEST_PAGE
    rows = region.state.rows(
        "SELECT position, blob FROM snapshot_blocks WHERE snapshot = ? AND position >= ? ORDER BY position LIMIT ?",
        (identifier, begin, most + 1),
    )
    expiry = _expiry()
    blocks = [
        {
            "BlockIndex": row["position"],
            "BlockToken": tokens.block_token(region, identifier, row["position"], row["blob"], expiry),
        }
        for row in rows[:most]
    ]
    following = {"NextToken": tokens.page_token(region, identifier, rows[most]["position"])} if rows[most:] else {}
    return {"Blocks": blocks, **_about(found, expiry), **following}


def list_changed_blocks(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Where the second snapshot is not as the first: other bytes, or a block that only one of them has."""
    if not wanted.get("FirstSnapshotId"):
        raise invalid("INVALID_PARAMETER_VALUE", "FirstSnapshotId must be specified with SecondSnapshotId")
    first, second = _completed(region, wanted["FirstSnapshotId"]), _completed(region, wanted["SecondSnapshotId"])
    if first.row["lineage"] != second.row["lineage"]:
        raise invalid("UNRELATED_SNAPSHOTS", f"{first.id} and {second.id} are not of one lineage")
    purpose = f"{first.id} {second.id}"
    begin, most = _begin(region, wanted, purpose), wanted.get("MaxResults") or LARGEST_PAGE
    rows = region.state.rows(
        "SELECT position, max(CASE snapshot WHEN ?1 THEN blob END) AS old, max(CASE snapshot WHEN ?2 THEN blob END) "
        "AS new FROM snapshot_blocks WHERE snapshot IN (?1, ?2) AND position >= ?3 "
        "GROUP BY position HAVING old IS NOT new ORDER BY position LIMIT ?4",
        (first.id, second.id, begin, most + 1),
    )
    expiry = _expiry()
    changed = []
    for row in rows[:most]:
        sides = (("FirstBlockToken", first.id, row["old"]), ("SecondBlockToken", second.id, row["new"]))
        their = {
            member: tokens.block_token(region, snapshot, row["position"], blob, expiry)
            for member, snapshot, blob in sides
            if blob is not None
        }
        changed.append({"BlockIndex": row["position"], **their})
    following = {"NextToken": tokens.page_token(region, purpose, rows[most]["position"])} if rows[most:] else {}
    return {"ChangedBlocks": changed, **_about(second, expiry), **following}


def _expiry() -> int:
    return int(time.time()) + tokens.GOOD_FOR


def _about(snapshot: Snapshot, expiry: int) -> dict[str, Any]:
    return {
        "ExpiryTime": datetime.fromtimestamp(expiry, UTC),
        "VolumeSize": snapshot.volume_size,
        "BlockSize": BLOCK,
    }


def get_block(region: Region, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    """The members of the answer, and the file that the block's bytes are in."""
    identifier, position = wanted["SnapshotId"], wanted["BlockIndex"]
    _completed(region, identifier)
    query = "SELECT blob FROM snapshot_blocks WHERE snapshot = ? AND position = ?"
    row = region.state.row(query, (identifier, position))
    if row is None:
        raise invalid("INVALID_BLOCK", f"{identifier} has no block {position}")
    tokens.check_block_token(region, wanted["BlockToken"], identifier, position, row["blob"])
    checksum = b64encode(bytes.fromhex(row["blob"])).decode()
    members = {"DataLength": BLOCK, "Checksum": checksum, "ChecksumAlgorithm": "SHA256"}
    return members, region.state.blob(row["blob"])
