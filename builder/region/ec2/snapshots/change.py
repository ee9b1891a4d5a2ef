"""DeleteSnapshot."""

import json
from collections.abc import Mapping
from typing import Any

from builder.region.ec2.region import Region
from builder.region.ec2.snapshots.describe import find_own_snapshot
from builder.region.errors import ServiceError


def images_of(region: Region, snapshot_id: str) -> list[str]:
    """The available images, of whichever account, whose volumes are made of a snapshot."""
    rows = region.state.rows("SELECT id, record FROM images WHERE state = 'available' AND region = ?", (region.name,))
    return [row["id"] for row in rows if snapshot_id in snapshots_of(json.loads(row["record"]))]


def snapshots_of(image: Mapping[str, Any]) -> list[str]:
    """The snapshots in an image's block device mapping."""
    volumes = (each.get("Ebs") or {} for each in image["BlockDeviceMappings"])
    return [each["SnapshotId"] for each in volumes if each.get("SnapshotId")]


def delete_snapshot(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """It is gone, pending or not, with the blocks that no other snapshot has."""
    snapshot_id = str(wanted["SnapshotId"])
    with region.state.transaction():
        find_own_snapshot(region, snapshot_id)
        if images := images_of(region, snapshot_id):
            raise ServiceError(
                "InvalidSnapshot.InUse", f"The snapshot {snapshot_id} is currently in use by {images[0]}"
            )
        remove(region, snapshot_id)
    return {}


def remove(region: Region, snapshot_id: str) -> None:
    with region.state.transaction() as database:
        database.execute("DELETE FROM tags WHERE resource = ?", (snapshot_id,))
        database.execute("DELETE FROM snapshots WHERE id = ?", (snapshot_id,))
        region.state.disk(snapshot_id).unlink(missing_ok=True)
