"""DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute."""

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from builder.region.ec2.region import Region, StoredImage, find_own_image
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
        everyone = [{"Group": "all"}] if image.public else []
        return answer | {"LaunchPermissions": [{"UserId": user} for user in sorted(image.users)] + everyone}
    if attribute == "productCodes":
        return answer | {"ProductCodes": []}
    if attribute == "blockDeviceMapping":
        return answer | {"BlockDeviceMappings": image.record["BlockDeviceMappings"]}
    member, source = SINGLE[attribute]
    value = image.record.get(source)
    return answer | {member: {"Value": value} if value else {}}


def modify_image_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute a call, as in EC2: the description, the launch permissions, or IMDSv2 once and for all."""
    attribute = wanted.get("Attribute")
    changes = [name for name in ("Description", "ImdsSupport", "LaunchPermission") if wanted.get(name) is not None]
    for name in ("ProductCodes", "OrganizationArns", "OrganizationalUnitArns"):
        if wanted.get(name):
            raise ServiceError("UnsupportedOperation", f"The local region does not keep {name} of an image")
    if len(changes) > 1:
        raise ServiceError("InvalidParameterCombination", "Fields for multiple attribute types specified")
    naming_users = any(wanted.get(name) for name in ("OperationType", "UserIds", "UserGroups"))
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


def _permissions(wanted: Mapping[str, Any]) -> tuple[list[Permission], list[Permission]]:
    """What to add and what to remove, from either of the two ways to say it."""
    listed = wanted.get("LaunchPermission")
    if listed is not None:
        return _named(listed.get("Add") or ()), _named(listed.get("Remove") or ())
    users = [{"UserId": each} for each in wanted.get("UserIds") or ()]
    named = _named(users + [{"Group": each} for each in wanted.get("UserGroups") or ()])
    operation = wanted.get("OperationType")
    if operation not in ("add", "remove"):
        raise ServiceError("MissingParameter", "The request must contain the parameter OperationType: add or remove")
    return (named, []) if operation == "add" else ([], named)


def _named(entries: Sequence[Mapping[str, Any]]) -> list[Permission]:
    named = []
    for each in entries:
        user, group = each.get("UserId"), each.get("Group")
        if each.get("OrganizationArn") or each.get("OrganizationalUnitArn"):
            raise ServiceError("UnsupportedOperation", "The local region has no organizations")
        if user is not None and re.fullmatch(r"\d{12}", user) is None:
            raise ServiceError(
                "InvalidAMIAttributeItemValue", f'Invalid attribute item value "{user}" for userId item type.'
            )
        if group not in (None, "all") or (user is None and group is None):
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
        find_own_image(region, image_id)
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
