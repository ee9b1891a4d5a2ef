"""What the factory made, and nobody refers to: found in what a region and a bucket have. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from builder.cloud.amis import Ami
from builder.cloud.leftovers import Lying
from builder.cloud.snapshots import Snapshot

_DEAD = ("failed", "error", "invalid")
_BUNDLE = re.compile(r"(?P<place>.+/[0-9a-f]{12})/[^/]+\.part\.[0-9]+")
"""A part below a prefix as the upload stage makes it: the last word is of its bundle's digest."""
_IMPORTED = re.compile(r"snapshots/(?P<key>[0-9a-f]{64})\.raw")
"""An image that the snapshot stage sent for ImportSnapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What unfinished builds of this machine may go on with."""

    snapshots: frozenset[str] = frozenset()
    uploads: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Something to remove."""

    region: str
    kind: str
    """image, snapshot, upload, bundle or import."""
    id: str
    """Of the image or snapshot; s3://BUCKET/KEY of the rest."""
    since: datetime
    why: str
    parts: tuple[str, ...] = ()
    """Snapshots of an image; keys of a bundle; the id of an upload."""


def dead_images(region: str, images: Iterable[Ami], before: datetime) -> Iterator[Orphan]:
    """AMIs of ours that failed. `images` are the factory's."""
    for each in images:
        since = datetime.fromisoformat(each.created) if each.created else datetime.fromtimestamp(0, UTC)
        if each.state in _DEAD and since < before:
            why = f"{each.state}: {each.reason}" if each.reason else each.state
            yield Orphan(region=region, kind="image", id=each.id, since=since, why=why, parts=each.snapshots)


def lone_snapshots(
    region: str, snapshots: Iterable[Snapshot], images: Iterable[Ami], kept: Kept, before: datetime
) -> Iterator[Orphan]:
    """Snapshots of ours in none of the account's AMIs. `images` are all of the account's in the region."""
    used = {name for each in images if each.state not in ("deregistered",) for name in each.snapshots}
    for each in snapshots:
        if each.id in used | kept.snapshots or each.key in kept.keys or each.started >= before:
            continue
        why = {"completed": "no AMI has it", "pending": "it was never completed"}.get(each.state, each.state)
        yield Orphan(region=region, kind="snapshot", id=each.id, since=each.started, why=why)


def lone_uploads(region: str, bucket: str, uploads: Iterable[Lying], kept: Kept, before: datetime) -> Iterator[Orphan]:
    """Uploads in parts that were never finished."""
    for each in uploads:
        if each.upload not in kept.uploads and each.since < before:
            yield Orphan(
                region=region,
                kind="upload",
                id=f"s3://{bucket}/{each.key}",
                since=each.since,
                why="its parts were never put together",
                parts=(each.upload,),
            )


def lone_objects(region: str, bucket: str, objects: Sequence[Lying], kept: Kept, before: datetime) -> Iterator[Orphan]:
    """Parts of bundles that no manifest came to, and images whose import is over. Anything else is somebody's own."""
    for place, parts in _parts(objects).items():
        whole = any(each.key.startswith(f"{place}/") and each.key.endswith(".manifest.xml") for each in objects)
        since = max(each.since for each in parts)
        if not whole and since < before:
            yield Orphan(
                region=region,
                kind="bundle",
                id=f"s3://{bucket}/{place}/",
                since=since,
                why="parts without a manifest",
                parts=tuple(each.key for each in parts),
            )
    for each in objects:
        found = _IMPORTED.fullmatch(each.key)
        if found is not None and found["key"] not in kept.keys and each.since < before:
            yield Orphan(
                region=region,
                kind="import",
                id=f"s3://{bucket}/{each.key}",
                since=each.since,
                why="no import is under way",
                parts=(each.key,),
            )


def _parts(objects: Iterable[Lying]) -> Mapping[str, list[Lying]]:
    found: dict[str, list[Lying]] = {}
    for each in objects:
        if (part := _BUNDLE.fullmatch(each.key)) is not None:
            found.setdefault(part["place"], []).append(each)
    return found
