"""CopySnapshot, and what it has in common with CopyImage: regions, keys, and how long it takes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from builder.catalog.regions import LOCAL
from builder.region import quotas
from builder.region.course import Course
from builder.region.ebs import record
from builder.region.ebs.record import Snapshot, default_key
from builder.region.ec2 import settings
from builder.region.ec2.region import NAME, OTHERS, Region, new_id, timestamp
from builder.region.ec2.snapshots.describe import find_snapshot
from builder.region.ec2.tags import add_tags, check_tags, described_tags, tags_of_specifications
from builder.region.errors import ServiceError

INACCESSIBLE = "Given key ID is not accessible"
"""The state message of a copy whose key is not there for it. EC2 finds out only while it copies."""


def copy_snapshot(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A snapshot of the caller's in this region, pending until its course is over."""
    for name in ("DestinationOutpostArn", "DestinationAvailabilityZone"):
        if wanted.get(name):
            raise ServiceError("UnsupportedOperation", f"The local region does not offer {name}")
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "snapshot")
    check_tags(tags)
    source_region = source(region, wanted["SourceRegion"])
    with region.state.transaction():
        found = find_snapshot(source_region, str(wanted["SourceSnapshotId"]))
        if found.standing().state != "completed":
            raise ServiceError("IncorrectState", f"Snapshot '{found.id}' is not 'completed'.")
        _check_room(region)
        identifier = copied(
            region,
            found,
            encrypted=encryption(region, wanted, found),
            course=region.faults.course("ec2", "CopySnapshot", region.name),
            tags=tags,
            description=wanted.get("Description") or f"[Copied {found.id} from {wanted['SourceRegion']}]",
            origin="snapshot",
        )
    return {"SnapshotId": identifier, **({"Tags": described_tags(tags)} if tags else {})}


def source(region: Region, name: str) -> Region:
    """The region that is copied from, as the caller sees it."""
    if name not in (NAME, LOCAL, *OTHERS):
        raise ServiceError("InvalidParameterValue", f"Value ({name}) for parameter sourceRegion is invalid.")
    return region.named(name)


def _check_room(region: Region) -> None:
    rows = region.state.rows(
        "SELECT course FROM snapshots WHERE region = ? AND owner = ? AND origin = 'snapshot'",
        (region.name, region.account),
    )
    most = int(quotas.value(region, quotas.SNAPSHOT_COPIES))
    if sum(Course.parse(row["course"]).standing().state == "pending" for row in rows) >= most:
        raise ServiceError(
            "ResourceLimitExceeded",
            "You have exceeded an Amazon EBS resource creation limit. Too many snapshot copies in progress. The limit "
            f"is {most} for this destination region.",
        )


def encryption(region: Region, wanted: Mapping[str, Any], found: Snapshot) -> str | None:
    """The key that a copy is encrypted with; None: it is not. What is encrypted stays it."""
    if wanted.get("KmsKeyId") and not wanted.get("Encrypted"):
        raise ServiceError("InvalidParameterCombination", "KmsKeyId needs Encrypted to be true")
    if found.row["encrypted"] and wanted.get("Encrypted") is False:
        raise ServiceError("InvalidParameterCombination", f"{found.id} is encrypted, and so are its copies")
    if not (wanted.get("Encrypted") or found.row["encrypted"] or settings.encrypts(region)):
        return None
    return key_arn(region, str(wanted["KmsKeyId"])) if wanted.get("KmsKeyId") else default_key(region)


def key_arn(region: Region, name: str) -> str:
    """A key by any of its names, as an ARN."""
    if name.startswith("arn:"):
        return name
    kind = name if name.startswith("alias/") else f"key/{name}"
    return f"arn:aws:kms:{region.name}:{region.account}:{kind}"


def copied(
    region: Region,
    found: Snapshot,
    *,
    encrypted: str | None,
    course: Course,
    tags: Mapping[str, str],
    description: str,
    origin: str,
) -> str:
    """The copy's record and blocks, which are the same files; its id. Inside the caller's transaction."""
    identifier = new_id("snap")
    if encrypted is not None and encrypted.split(":")[3:4] not in (
        [region.name],
        [LOCAL if region.name == NAME else ""],
    ):
        course = Course(begun=course.begun, seconds=course.seconds, outcome="error", at=0, reason=INACCESSIBLE)
    with region.state.transaction() as database:
        record.insert(
            region,
            database,
            id=identifier,
            volume_size=found.volume_size,
            started=timestamp(datetime.now(UTC)),
            description=description,
            encrypted=encrypted is not None,
            kms_key=encrypted,
            lineage=found.row["lineage"],
            course=course,
            origin=origin,
        )
        add_tags(database, identifier, tags)
        record.inherit(database, identifier, found.id, own=True)
    return identifier
