"""CopyImage: from a region of this process to the one that is asked."""

import json
from collections.abc import Mapping
from typing import Any

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.region import quotas
from builder.region.course import Course
from builder.region.ebs.record import Snapshot
from builder.region.ec2.region import Region, StoredImage, all_images, check_id, new_id, now
from builder.region.ec2.register import NAME as NAMES
from builder.region.ec2.register import insert, malformed
from builder.region.ec2.snapshots.change import snapshots_of
from builder.region.ec2.snapshots.copy import copied, encryption, source
from builder.region.ec2.snapshots.describe import find_snapshot
from builder.region.ec2.tags import check_tags, tags_of_specifications
from builder.region.errors import ServiceError

# What belongs to one image and not to its copies.
OWN = (
    "ImageId",
    "OwnerId",
    "ImageOwnerAlias",
    "CreationDate",
    "DeprecationTime",
    "DeregistrationProtection",
    "Cooldown",
)
# What makes two requests with one client token the same request.
_REQUEST = ("Name", "Description", "SourceImageId", "SourceRegion", "Encrypted", "KmsKeyId", "CopyImageTags")


def copy_image(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """An image of the caller's in this region, pending until its course is over; its snapshots go with it."""
    for name in ("DestinationOutpostArn", "DestinationAvailabilityZone", "DestinationAvailabilityZoneId"):
        if wanted.get(name):
            raise ServiceError("UnsupportedOperation", f"The local region does not offer {name}")
    if NAMES.fullmatch(wanted["Name"]) is None:
        raise malformed()
    request = json.dumps({name: wanted.get(name) for name in _REQUEST}, sort_keys=True)
    token = wanted.get("ClientToken")
    source_region = source(region, wanted["SourceRegion"])
    with region.state.transaction():
        if token and (other := _with_token(region, token, request)):
            return {"ImageId": other}
        image = _find(source_region, str(wanted["SourceImageId"]))
        _check_room(region)
        tags, snapshot_tags = _tags(wanted, image)
        course = region.faults.course("ec2", "CopyImage", region.name)
        copies = {each.id: (each, encryption(region, wanted, each)) for each in _snapshots(source_region, image)}
        image_id = new_id("ami")
        ids = {
            each.id: copied(
                region,
                each,
                encrypted=key,
                course=course,
                tags=snapshot_tags,
                description=f"Copied for DestinationAmi {image_id} from SourceAmi {image.id} for SourceSnapshot "
                f"{each.id}. Task created on {int(course.begun * 1000):,}.",
                origin="image",
            )
            for each, key in copies.values()
        }
        record = {
            **{name: value for name, value in image.record.items() if name not in OWN},
            "Name": wanted["Name"],
            "OwnerId": region.account,
            "CreationDate": now(),
            "SourceImageId": image.id,
            "SourceImageRegion": source_region.name,
            "BlockDeviceMappings": [
                _mapping(each, ids, encrypted={name for name, (_, key) in copies.items() if key is not None})
                for each in image.record["BlockDeviceMappings"]
            ],
            **({"ImageLocation": f"{region.account}/{wanted['Name']}"} if ids else {}),
            **({"ImageOwnerAlias": AMAZON} if region.account == AMAZON_ACCOUNT else {}),
        }
        if wanted.get("Description") is not None:
            record["Description"] = wanted["Description"]
        manifest = region.state.row("SELECT manifest FROM images WHERE id = ?", (image.id,))
        insert(
            region,
            record,
            tags,
            manifest["manifest"] if manifest else b"",
            image_id=image_id,
            course=course.text(),
            token=token,
            request=request,
        )
    return {"ImageId": image_id}


def _with_token(region: Region, token: str, request: str) -> str | None:
    query = "SELECT id, request FROM images WHERE region = ? AND owner = ? AND client_token = ?"
    row = region.state.row(query, (region.name, region.account, token))
    if row is not None and row["request"] != request:
        raise ServiceError(
            "IdempotentParameterMismatch", "The client token was used by a request with other parameters."
        )
    return str(row["id"]) if row is not None else None


def _find(region: Region, image_id: str) -> StoredImage:
    check_id(image_id, ("ami",))
    for each in all_images(region):
        if each.id == image_id and each.may_be_launched_by(region.account):
            if each.state != "available":
                raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is {each.state}")
            return each
    raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


def _snapshots(region: Region, image: StoredImage) -> list[Snapshot]:
    """Those of the image, which the caller must be allowed to read as well."""
    try:
        return [find_snapshot(region, each) for each in dict.fromkeys(snapshots_of(image.record))]
    except ServiceError as error:
        raise ServiceError("InvalidRequest", "You do not have permission to access the storage of this ami") from error


def _tags(wanted: Mapping[str, Any], image: StoredImage) -> tuple[dict[str, str], dict[str, str]]:
    """Of the image and of its snapshots."""
    listed = wanted.get("TagSpecifications") or ()
    for each in listed:
        if each.get("ResourceType") not in ("image", "snapshot"):
            tags_of_specifications([each], "image")  # refuses it
    own, snapshots = (
        tags_of_specifications([each for each in listed if each["ResourceType"] == kind], kind)
        for kind in ("image", "snapshot")
    )
    if wanted.get("CopyImageTags"):
        own = {**image.tags, **own}
    check_tags(own)
    check_tags(snapshots)
    return own, snapshots


def _mapping(each: Mapping[str, Any], ids: Mapping[str, str], *, encrypted: set[str]) -> dict[str, Any]:
    volume = each.get("Ebs")
    if volume is None or volume.get("SnapshotId") is None:
        return dict(each)
    name = volume["SnapshotId"]
    return {**each, "Ebs": {**volume, "SnapshotId": ids[name], "Encrypted": name in encrypted}}


def _check_room(region: Region) -> None:
    rows = region.state.rows(
        "SELECT course FROM images WHERE region = ? AND owner = ? AND state = 'available' AND course IS NOT NULL",
        (region.name, region.account),
    )
    most = int(quotas.value(region, quotas.IMAGE_COPIES))
    if sum(Course.parse(row["course"]).standing().state == "pending" for row in rows) >= most:
        raise ServiceError(
            "ResourceLimitExceeded", f"Too many image copies in progress. The limit is {most} for this region."
        )
