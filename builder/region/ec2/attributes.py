"""DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute."""

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from builder.region import quotas
from builder.region.ebs.record import default_key
from builder.region.ec2 import settings
from builder.region.ec2.region import Region, StoredImage, all_images, find_own_image
from builder.region.ec2.snapshots.change import snapshots_of
from builder.region.ec2.snapshots.describe import find_snapshot
from builder.region.errors import ServiceError

# Attribute, the member of the answer, and the member of the image's record that it shows.
SINGLE = {
    "description": ("Description", "Description"),
    "kernel": ("KernelId", "KernelId"),
    "ramdisk": ("RamdiskId", "RamdiskId"),
    "sriovNetSupport": ("SriovNetSupport", "SriovNetSupport"),
    "bootMode": ("BootMode", "BootMode"),
    "tpmSupport": ("TpmSupport", "TpmSupport"),
    "uefiData": ("UefiData", "UefiData"),
    "lastLaunchedTime": ("LastLaunchedTime", "LastLaunchedTime"),
    "imdsSupport": ("ImdsSupport", "ImdsSupport"),
    "deregistrationProtection": ("DeregistrationProtection", "DeregistrationProtection"),
}


def describe_image_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    image = find_own_image(region, str(wanted["ImageId"]))
    attribute = str(wanted["Attribute"])
    answer: dict[str, Any] = {"ImageId": image.id}
    if attribute == "launchPermission":
        return answer | {"LaunchPermissions": _listed(image)}
    if attribute == "productCodes":
        return answer | {"ProductCodes": []}
    if attribute == "blockDeviceMapping":
        return answer | {"BlockDeviceMappings": image.record["BlockDeviceMappings"]}
    member, source = SINGLE[attribute]
    value = image.record.get(source, "disabled" if attribute == "deregistrationProtection" else None)
    return answer | {member: {"Value": value} if value else {}}


def modify_image_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute a call, as in EC2: the description, the launch permissions, or IMDSv2 once and for all."""
    attribute = wanted.get("Attribute")
    changes = [name for name in ("Description", "ImdsSupport", "LaunchPermission") if wanted.get(name) is not None]
    if wanted.get("ProductCodes"):
        raise ServiceError("UnsupportedOperation", "The local region does not keep ProductCodes of an image")
    if len(changes) > 1:
        raise ServiceError("InvalidParameterCombination", "Fields for multiple attribute types specified")
    naming_users = any(wanted.get(name) for name in ("OperationType", *_LISTS))
    if changes == ["LaunchPermission"] or attribute == "launchPermission" or (naming_users and not changes):
        adding, removing = _permissions(wanted)
        _change_permissions(region, str(wanted["ImageId"]), adding, removing)
    elif changes == ["Description"] or attribute == "description":
        _set(region, wanted, "Description", (wanted.get("Description") or {}).get("Value", wanted.get("Value")))
    elif changes == ["ImdsSupport"] or attribute == "imdsSupport":
        value = (wanted.get("ImdsSupport") or {}).get("Value", wanted.get("Value"))
        if value != "v2.0":
            raise ServiceError("InvalidParameterValue", f"Value ({value}) for parameter imdsSupport is invalid")
        _set(region, wanted, "ImdsSupport", value)
    elif attribute is None:
        raise ServiceError("InvalidParameterCombination", "No attributes specified.")
    else:
        raise ServiceError("InvalidParameterValue", f"Value ({attribute}) for parameter attribute cannot be modified")
    return {}


def _set(region: Region, wanted: Mapping[str, Any], member: str, value: str | None) -> None:
    if value is None:
        raise ServiceError("MissingParameter", "The request must contain the parameter Value")
    if len(value) > 255:
        raise ServiceError("InvalidParameterValue", "The description of an image has up to 255 characters")
    with region.state.transaction() as database:
        image = find_own_image(region, str(wanted["ImageId"]))
        record = {**image.record, member: value}
        if not value:
            del record[member]
        _write(database, image, record)


def _write(database: sqlite3.Connection, image: StoredImage, record: Mapping[str, Any]) -> None:
    database.execute("UPDATE images SET record = ? WHERE id = ?", (json.dumps(record), image.id))


Permission = tuple[str, str]
# The lists of the call's older form, and the member of a permission that each stands for.
_LISTS = {
    "UserIds": "UserId",
    "UserGroups": "Group",
    "OrganizationArns": "OrganizationArn",
    "OrganizationalUnitArns": "OrganizationalUnitArn",
}
_ARNS = {"organization": "OrganizationArn", "unit": "OrganizationalUnitArn"}
# Organizations API reference: the patterns of the two ARNs.
_ARN = {
    "organization": re.compile(r"arn:aws[a-z-]*:organizations::\d{12}:organization/o-[a-z0-9]{10,32}"),
    "unit": re.compile(r"arn:aws[a-z-]*:organizations::\d{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}"),
}


def _check_room(region: Region, image: StoredImage, adding: Sequence[Permission]) -> None:
    """The account's quotas of public images, and of whom one image is shared with."""
    everyone = ("group", "all")
    if everyone in adding and not image.public:
        most = int(quotas.value(region, quotas.PUBLIC_IMAGES))
        if sum(each.public and each.owner == region.account for each in all_images(region)) >= most:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"You have reached your quota of {most} for the number of public images allowed in this Region. "
                "Deregister unused public images or request an increase in your public AMIs quota.",
            )
    shared = {("user", each) for each in image.users} | image.organizations | (set(adding) - {everyone})
    most = int(quotas.value(region, quotas.IMAGE_SHARES))
    if len(shared) > most:
        raise ServiceError(
            "ResourceLimitExceeded", f"You have reached your quota of {most} for whom an image can be shared with."
        )


def _listed(image: StoredImage) -> list[dict[str, str]]:
    """An image's permissions, as they are described."""
    everyone = [{"Group": "all"}] if image.public else []
    users = [{"UserId": user} for user in sorted(image.users)]
    return users + everyone + [{_ARNS[kind]: arn} for kind, arn in sorted(image.organizations)]


def _check_sharing(region: Region, image: StoredImage, adding: Sequence[Permission]) -> None:
    """What may not be given away: what is not available, or encrypted; what the account keeps from the public."""
    if image.state != "available":
        raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is {image.state}, not available")
    public = ("group", "all") in adding
    if public and settings.get(region, settings.IMAGES_PUBLIC) == "block-new-sharing":
        raise ServiceError(
            "OperationNotPermitted", "You can't publicly share this image because block public access is enabled."
        )
    for each in snapshots_of(image.record):
        row = find_snapshot(region, each).row
        if row["encrypted"] and (public or row["kms_key"] == default_key(region)):
            raise ServiceError(
                "OperationNotPermitted",
                f"The image cannot be shared{' with all' if public else ''}: its snapshot {each} is encrypted"
                + ("" if public else " with the default key of EBS"),
            )


def _permissions(wanted: Mapping[str, Any]) -> tuple[list[Permission], list[Permission]]:
    """What to add and what to remove, from either of the two ways to say it."""
    listed = wanted.get("LaunchPermission")
    if listed is not None:
        return _named(listed.get("Add") or ()), _named(listed.get("Remove") or ())
    named = _named([{member: each} for name, member in _LISTS.items() for each in wanted.get(name) or ()])
    operation = wanted.get("OperationType")
    if operation not in ("add", "remove"):
        raise ServiceError("MissingParameter", "The request must contain the parameter OperationType: add or remove")
    return (named, []) if operation == "add" else ([], named)


def _named(entries: Sequence[Mapping[str, Any]]) -> list[Permission]:
    named: list[Permission] = []
    for each in entries:
        user, group = each.get("UserId"), each.get("Group")
        arns = [(kind, each[member]) for kind, member in _ARNS.items() if each.get(member)]
        for kind, arn in arns:
            if _ARN[kind].fullmatch(arn) is None:
                raise ServiceError(
                    "InvalidAMIAttributeItemValue", f'Invalid attribute item value "{arn}" for {kind} item type.'
                )
        named += arns
        if user is not None and re.fullmatch(r"\d{12}", user) is None:
            raise ServiceError(
                "InvalidAMIAttributeItemValue", f'Invalid attribute item value "{user}" for userId item type.'
            )
        if group not in (None, "all") or (user is None and group is None and not arns):
            raise ServiceError(
                "InvalidAMIAttributeItemValue", f'Invalid attribute item value "{group or ""}" for group item type.'
            )
        named += [("user", user)] if user is not None else []
        named += [("group", "all")] if group is not None else []
    return named


def _change_permissions(region: Region, image_id: str, adding: list[Permission], removing: list[Permission]) -> None:
    if not adding and not removing:
        raise ServiceError("InvalidParameterCombination", "No launch permissions specified.")
    with region.state.transaction() as database:
        image = find_own_image(region, image_id)
        if adding:
            _check_sharing(region, image, adding)
            _check_room(region, image, adding)
        database.executemany(
            "INSERT OR IGNORE INTO permissions VALUES (?, ?, ?)", [(image_id, *each) for each in adding]
        )
        database.executemany(
            "DELETE FROM permissions WHERE image = ? AND kind = ? AND value = ?",
            [(image_id, *each) for each in removing],
        )


def reset_image_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    if wanted["Attribute"] != "launchPermission":
        raise ServiceError("InvalidParameterValue", "Only launchPermission can be reset")
    with region.state.transaction() as database:
        image = find_own_image(region, str(wanted["ImageId"]))
        database.execute("DELETE FROM permissions WHERE image = ?", (image.id,))
    return {}
