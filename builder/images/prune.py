"""Orphans looked for in one region and its bucket, and removed."""

from datetime import datetime

from builder.cloud import amis, leftovers, s3
from builder.cloud.amis import SOURCE_TAG
from builder.cloud.ec2 import KEY_TAG
from builder.cloud.leftovers import Lying
from builder.cloud.s3 import Bucket
from builder.cloud.snapshots import delete_snapshot, tagged_snapshots
from builder.images.orphans import Kept, Orphan, dead_images, lone_objects, lone_snapshots, lone_uploads
from builder.images.reach import Reach


def look(reach: Reach, region: str, bucket: str, account: str, kept: Kept, before: datetime) -> tuple[Orphan, ...]:
    """All orphans that were there before that time."""
    client = reach.ec2(region)
    dead = tuple(dead_images(region, amis.ours(client, region), before))
    # Snapshots first: what is registered meanwhile is seen as used.
    snapshots = tagged_snapshots(client, KEY_TAG, SOURCE_TAG)
    images = amis.own_amis(client, region, {})
    place = Bucket(client=reach.client("s3", region), name=bucket, account=account)
    return (
        *dead,
        *lone_snapshots(region, snapshots, images, kept, before),
        *lone_uploads(region, bucket, leftovers.uploads(place), kept, before),
        *lone_objects(region, bucket, leftovers.objects(place), kept, before),
    )


def remove(reach: Reach, bucket: str, account: str, orphan: Orphan) -> None:
    """RegionError when it cannot be removed, as a snapshot that came into use meanwhile; none when it has gone."""
    client = reach.ec2(orphan.region)
    if orphan.kind == "image":
        amis.deregister(client, orphan.id)
        for each in orphan.parts:
            delete_snapshot(client, each)
        return
    if orphan.kind == "snapshot":
        delete_snapshot(client, orphan.id)
        return
    place = Bucket(client=reach.client("s3", orphan.region), name=bucket, account=account)
    if orphan.kind == "upload":
        key = orphan.id.removeprefix(f"s3://{bucket}/")
        leftovers.abort(place, Lying(key=key, since=orphan.since, upload=orphan.parts[0]))
        return
    s3.delete(place, list(orphan.parts))
