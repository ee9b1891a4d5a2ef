"""StartSnapshot, PutSnapshotBlock, CompleteSnapshot."""

import hashlib
import json
import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from builder.region import quotas
from builder.region.ebs import record
from builder.region.ebs.record import BLOCK, Snapshot, invalid, unknown
from builder.region.ec2 import settings
from builder.region.ec2.region import Region, new_id, timestamp
from builder.region.ec2.tags import add_tags
from builder.region.errors import ServiceError
from builder.region.http import Body
from builder.region.state import Row

LARGEST_VOLUME = 65536
MOST_TAGS = 50
# What makes two requests with one client token the same request.
_REQUEST = ("VolumeSize", "ParentSnapshotId", "Tags", "Description", "Encrypted", "KmsKeyArn", "Timeout")


def start_snapshot(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A pending snapshot of the size that is asked for; the parent's blocks are in it."""
    request = json.dumps({name: wanted.get(name) for name in _REQUEST}, sort_keys=True)
    _check_tags(wanted.get("Tags") or ())
    if wanted["VolumeSize"] > LARGEST_VOLUME:
        raise invalid("INVALID_VOLUME_SIZE", f"The volume size is up to {LARGEST_VOLUME} GiB")
    token = wanted.get("ClientToken")
    with region.state.transaction() as database:
        if token and (other := _with_token(region, token)):
            if other["request"] != request:
                raise ServiceError("ConflictException", "The client token was used by a request that is not this one.")
            return _started(region, other["id"])
        _check_room(region)
        parent = _parent(region, wanted)
        key = wanted.get("KmsKeyArn")
        encrypted = bool(wanted.get("Encrypted") or (parent.row["encrypted"] if parent else settings.encrypts(region)))
        if key and not encrypted:
            raise invalid("INVALID_PARAMETER_VALUE", "KmsKeyArn is for snapshots that are encrypted")
        if encrypted:
            key = key or (parent.row["kms_key"] if parent else None) or record.default_key(region)
        identifier = new_id("snap")
        record.insert(
            region,
            database,
            id=identifier,
            volume_size=wanted["VolumeSize"],
            started=timestamp(datetime.now(UTC)),
            description=wanted.get("Description") or "",
            encrypted=encrypted,
            kms_key=key,
            parent=parent.id if parent else None,
            lineage=parent.row["lineage"] if parent else None,
            timeout=wanted.get("Timeout") or 60,
            token=token,
            request=request,
        )
        add_tags(
            database, identifier, {each.get("Key") or "": each.get("Value") or "" for each in wanted.get("Tags") or ()}
        )
        if parent is not None:
            record.inherit(database, identifier, parent.id, own=False)
    return _started(region, identifier)


def _check_room(region: Region) -> None:
    query = "SELECT count(*) AS number FROM snapshots WHERE region = ? AND owner = ?"
    row = region.state.row(query, (region.name, region.account))
    most = int(quotas.value(region, quotas.SNAPSHOTS))
    if row is not None and row["number"] >= most:
        raise ServiceError(
            "ServiceQuotaExceededException",
            f"The account has {most} snapshots in this region, as many as its quota lets it",
            {"Reason": "DEPENDENCY_SERVICE_QUOTA_EXCEEDED"},
        )


def _check_tags(tags: Iterable[Mapping[str, Any]]) -> None:
    keys = [each.get("Key") or "" for each in tags]
    if not all(keys) or len(set(keys)) < len(keys) or len(keys) > MOST_TAGS or any(k.startswith("aws:") for k in keys):
        raise invalid(
            "INVALID_TAG", f"Tags have keys, each its own, none of which begins with aws:, and are up to {MOST_TAGS}"
        )


def _with_token(region: Region, token: str) -> Row | None:
    query = "SELECT * FROM snapshots WHERE region = ? AND owner = ? AND client_token = ?"
    return region.state.row(query, (region.name, region.account, token))


def _parent(region: Region, wanted: Mapping[str, Any]) -> Snapshot | None:
    name = wanted.get("ParentSnapshotId")
    if not name:
        return None
    if wanted.get("Encrypted") is not None:
        raise invalid("INVALID_PARAMETER_VALUE", "ParentSnapshotId and Encrypted cannot be in one request")
    parent = record.find(region, name)
    if parent is None:
        raise unknown(name)
    if parent.standing().state != "completed":
        raise invalid("INVALID_SNAPSHOT_ID", f"The parent {name} is not completed")
    if wanted["VolumeSize"] < parent.volume_size:
        raise invalid(
            "INVALID_VOLUME_SIZE",
            f"{wanted['VolumeSize']} GiB are less than the {parent.volume_size} GiB of the parent {name}",
        )
    return parent


def _started(region: Region, identifier: str) -> dict[str, Any]:
    found = record.find(region, identifier)
    assert found is not None
    row = found.row
    optional = {
        "Description": row["description"],
        "ParentSnapshotId": row["parent"],
        "KmsKeyArn": row["kms_key"],
        "Tags": [{"Key": key, "Value": value} for key, value in found.tags.items()],
    }
    return {
        "SnapshotId": identifier,
        "OwnerId": found.owner,
        "Status": found.standing().state,
        "StartTime": datetime.fromisoformat(row["started"]),
        "VolumeSize": found.volume_size,
        "BlockSize": BLOCK,
        "SseType": "sse-kms" if row["encrypted"] else "none",
        **{name: value for name, value in optional.items() if value},
    }


def _open(region: Region, identifier: str) -> Snapshot:
    """The caller's own snapshot, pending. Without its tags: this is asked for each block."""
    row = region.state.row("SELECT * FROM snapshots WHERE id = ? AND region = ?", (identifier, region.name))
    if row is None:
        raise unknown(identifier)
    found = Snapshot(row=row, tags={}, users=frozenset(), public=False)
    if found.owner != region.account and record.find(region, identifier) is None:
        raise unknown(identifier)
    if found.owner != region.account:
        raise ServiceError(
            "AccessDeniedException", f"{identifier} belongs to another account", {"Reason": "UNAUTHORIZED_ACCOUNT"}
        )
    if found.open:
        return found
    if found.row["course"] is None:
        raise invalid("WRITE_REQUEST_TIMEOUT", f"{identifier}: {found.standing().reason}")
    raise invalid("INVALID_SNAPSHOT_ID", f"The snapshot {identifier} is not pending: it takes no blocks any more")


def put_block(region: Region, wanted: Mapping[str, Any], body: Body) -> dict[str, Any]:
    """The block is on disk and in the record when this returns; what was there before is gone."""
    identifier, position = wanted["SnapshotId"], wanted["BlockIndex"]
    found = _open(region, identifier)
    if position >= found.blocks:
        raise invalid("INVALID_BLOCK", f"Block {position} lies behind the end of {found.volume_size} GiB")
    if wanted["DataLength"] != BLOCK:
        raise invalid("INVALID_PARAMETER_VALUE", f"The only data length is {BLOCK}")
    content = _content(body)
    digest = hashlib.sha256(content)
    checksum = b64encode(digest.digest()).decode()
    if checksum != wanted["Checksum"]:
        raise invalid("INVALID_PARAMETER_VALUE", "The checksum of the block data is not the one that was given")
    blob = digest.hexdigest()
    with (
        _alone(region.state, identifier, position, blob),
        region.state.set_aside(content, blob) as keep,
        region.state.transaction() as database,
    ):
        _open(region, identifier)
        keep()
        database.execute("INSERT OR REPLACE INTO snapshot_blocks VALUES (?, ?, ?, 1)", (identifier, position, blob))
        database.execute(
            "UPDATE snapshots SET touched = ?, progress = max(progress, ?) WHERE id = ?",
            (time.time(), min(wanted.get("Progress") or 0, 99), identifier),
        )
    return {"Checksum": checksum, "ChecksumAlgorithm": "SHA256"}


def _content(body: Body) -> bytes:
    pieces, total = [], 0
    while piece := body.read(BLOCK + 1):
        pieces.append(piece)
        total += len(piece)
        if total > BLOCK:
            break
    if total != BLOCK:
        raise invalid("INVALID_PARAMETER_VALUE", f"A block has {BLOCK} bytes, no fewer and no more")
    return b"".join(pieces)


_WRITING: dict[tuple[int, str, int], str] = {}
_WRITING_LOCK = threading.Lock()


@contextmanager
def _alone(state: object, snapshot: str, position: int, blob: str) -> Iterator[None]:
    """Two that write one block at once, each its own bytes: the second one is refused."""
    place = (id(state), snapshot, position)
    with _WRITING_LOCK:
        if _WRITING.get(place, blob) != blob:
            raise invalid("CONFLICTING_BLOCK_UPDATE", f"Block {position} is being written by another request")
        _WRITING[place] = blob
    try:
        yield
    finally:
        with _WRITING_LOCK:
            _WRITING.pop(place, None)


def complete_snapshot(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Seal it, when the blocks that were put are as many as the caller says, and are those that it means."""
    identifier = wanted["SnapshotId"]
    with region.state.transaction() as database:
        _open(region, identifier)
        query = "SELECT blob FROM snapshot_blocks WHERE snapshot = ? AND own ORDER BY position"
        blobs = [row["blob"] for row in database.execute(query, (identifier,))]
        if len(blobs) != wanted["ChangedBlocksCount"]:
            raise invalid(
                "INVALID_PARAMETER_VALUE",
                f"{len(blobs)} blocks were written, ChangedBlocksCount is {wanted['ChangedBlocksCount']}",
            )
        if wanted.get("Checksum") is not None:
            if wanted.get("ChecksumAlgorithm") is None or wanted.get("ChecksumAggregationMethod") is None:
                raise invalid("INVALID_PARAMETER_VALUE", "A checksum needs its algorithm and its aggregation method")
            if wanted["Checksum"] != linear(blobs):
                raise invalid("INVALID_PARAMETER_VALUE", "The checksum is not that of the blocks that were written")
        course = region.faults.course("ebs", "CompleteSnapshot", region.name)
        database.execute("UPDATE snapshots SET course = ? WHERE id = ?", (course.text(), identifier))
    return {"Status": course.standing().state}


def linear(blobs: list[str]) -> str:
    """The aggregate of the blocks' checksums, in the order of their indexes: SHA-256 over their digests."""
    return b64encode(hashlib.sha256(b"".join(bytes.fromhex(each) for each in blobs)).digest()).decode()
