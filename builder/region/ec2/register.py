"""RegisterImage and DeregisterImage. What is made of snapshots is in register_ebs.py."""

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.formats.manifest_grammar import DEVICE
from builder.region.ec2 import kernels
from builder.region.ec2.bundles import Bundle, fetch_bundle
from builder.region.ec2.region import Region, check_id, find_own_image, new_id, now
from builder.region.ec2.register_ebs import described_volume_image, hvm
from builder.region.ec2.retire import refuse_protected
from builder.region.ec2.snapshots.change import images_of, remove, snapshots_of
from builder.region.ec2.snapshots.describe import find_snapshot
from builder.region.ec2.tags import add_tags, check_tags, tags_of_specifications
from builder.region.ec2.volumes import checked_volume
from builder.region.errors import ServiceError

NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
ROOT_DEVICE = "/dev/sda1"


def register_image(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Take the image up with all that was said of it and its tags, or refuse it and change nothing."""
    name = str(wanted["Name"])
    if NAME.fullmatch(name) is None:
        raise malformed()
    if len(wanted.get("Description") or "") > 255:
        raise ServiceError("InvalidParameterValue", "The description of an image has up to 255 characters")
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "image")
    check_tags(tags)
    volumes = not wanted.get("ImageLocation")
    if volumes and not wanted.get("BlockDeviceMappings"):
        raise ServiceError(
            "MissingParameter",
            "The request must contain the parameter ImageLocation, or a BlockDeviceMapping with a root snapshot",
        )
    if wanted.get("RootDeviceName") and DEVICE.fullmatch(str(wanted["RootDeviceName"])) is None:
        raise ServiceError(
            "InvalidParameterValue", f"Value ({wanted['RootDeviceName']}) for parameter rootDeviceName is invalid"
        )
    mappings = _checked_mappings(region, wanted.get("BlockDeviceMappings") or (), volumes=volumes)
    bundle = None if volumes else fetch_bundle(region, str(wanted["ImageLocation"]))
    record = {
        **(
            _described_bundle(region, wanted, bundle)
            if bundle is not None
            else described_volume_image(region, wanted, mappings)
        ),
        "Name": name,
        "BlockDeviceMappings": mappings,
        **({"ImageOwnerAlias": AMAZON} if region.account == AMAZON_ACCOUNT else {}),
        **({"Description": wanted["Description"]} if wanted.get("Description") else {}),
        **{member: wanted[member] for member in ("ImdsSupport",) if wanted.get(member)},
    }
    return {"ImageId": insert(region, record, tags, bundle.text if bundle is not None else b"")}


def malformed() -> ServiceError:
    """What EC2 says of a name that it does not take."""
    return ServiceError(
        "InvalidAMIName.Malformed",
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '[', "
        "']', ' ', '.', '/', '-', ''', '@' and '_'",
    )


def _described_bundle(region: Region, wanted: Mapping[str, Any], bundle: Bundle) -> dict[str, Any]:
    """The members of the image that the request and the bundle decide together."""
    architecture = wanted.get("Architecture") or bundle.manifest.architecture
    if architecture != bundle.manifest.architecture:
        raise ServiceError(
            "InvalidParameterValue",
            f"Value ({architecture}) for parameter architecture is invalid: the manifest says "
            f"{bundle.manifest.architecture}",
        )
    virtualization = wanted.get("VirtualizationType") or "paravirtual"
    if virtualization not in ("paravirtual", "hvm"):
        raise ServiceError(
            "InvalidParameterValue", f"Value ({virtualization}) for parameter virtualizationType is invalid."
        )
    paravirtual = virtualization == "paravirtual"
    extra = _paravirtual(wanted, bundle, architecture) if paravirtual else _hvm(wanted, architecture)
    return {
        "ImageLocation": bundle.location,
        "ImageType": "machine",
        "Architecture": architecture,
        "OwnerId": region.account,
        "CreationDate": now(),
        "VirtualizationType": virtualization,
        "RootDeviceType": "instance-store",
        "RootDeviceName": _root_device(wanted, bundle),
        "Hypervisor": "xen",
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "ProductCodes": [],
        **extra,
    }


def _paravirtual(wanted: Mapping[str, Any], bundle: Bundle, architecture: str) -> dict[str, Any]:
    for member in ("EnaSupport", "SriovNetSupport", "BootMode", "TpmSupport"):
        if wanted.get(member):
            raise ServiceError("InvalidParameterCombination", f"{member} is for images of virtualization type hvm")
    _refuse_uefi(wanted)
    kernel = wanted.get("KernelId") or bundle.manifest.kernel_id
    ramdisk = wanted.get("RamdiskId") or bundle.manifest.ramdisk_id
    members: dict[str, Any] = {"EnaSupport": False}
    if kernel:
        members["KernelId"] = kernels.check(kernel, architecture)
    if ramdisk:
        check_id(ramdisk, ("ari",))
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{ramdisk}]' does not exist")
    return members


def _hvm(wanted: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    _refuse_uefi(wanted)
    return hvm(wanted, architecture)


def _refuse_uefi(wanted: Mapping[str, Any]) -> None:
    if wanted.get("UefiData"):
        raise ServiceError("InvalidParameterCombination", "UefiData is for images whose root device is an EBS volume")
    if wanted.get("BillingProducts"):
        raise ServiceError("UnauthorizedOperation", "You are not authorized to register images with billing products")


def _root_device(wanted: Mapping[str, Any], bundle: Bundle) -> str:
    root = wanted.get("RootDeviceName") or dict(bundle.manifest.block_device_mapping).get("root") or ROOT_DEVICE
    return str(root)


def _checked_mappings(region: Region, mappings: Sequence[Mapping[str, Any]], *, volumes: bool) -> list[dict[str, Any]]:
    """As DescribeImages has them. EBS volumes only with `volumes`: the image is made of them, not of a bundle."""
    checked = []
    for each in mappings:
        device = each.get("DeviceName")
        if not device:
            raise ServiceError("MissingParameter", "The request must contain the parameter DeviceName of each mapping")
        if each.get("Ebs") and not volumes:
            raise ServiceError("UnsupportedOperation", "The local region has no EBS volumes beside a bundle")
        if DEVICE.fullmatch(device) is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Invalid device name '{device}'")
        virtual = each.get("VirtualName")
        if virtual is None and each.get("NoDevice") is None and not each.get("Ebs"):
            raise ServiceError("InvalidBlockDeviceMapping", f"Device '{device}' is mapped to nothing")
        if each.get("Ebs") and (virtual is not None or each.get("NoDevice") is not None):
            raise ServiceError("InvalidBlockDeviceMapping", f"Device '{device}' is mapped to a volume and to more")
        if virtual is not None and re.fullmatch(r"ami|root|swap|ephemeral\d+", virtual) is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Invalid virtual name '{virtual}'")
        kept = {name: each[name] for name in ("DeviceName", "VirtualName", "NoDevice") if name in each}
        volume = {"Ebs": checked_volume(region, device, each["Ebs"])} if each.get("Ebs") else {}
        checked.append(kept | volume)
    names = [each["DeviceName"].removeprefix("/dev/") for each in checked]
    for name in names:
        if names.count(name) > 1:
            raise ServiceError("InvalidBlockDeviceMapping", f"The device '{name}' is used in more than one mapping")
    return checked


def insert(
    region: Region,
    record: Mapping[str, Any],
    tags: Mapping[str, str],
    manifest: bytes,
    *,
    image_id: str | None = None,
    course: str | None = None,
    token: str | None = None,
    request: str | None = None,
) -> str:
    """One transaction: the name is free and taken, the snapshots are still there, the image and its tags are, or
    nothing is. `course`: it is not available at once."""
    image_id = image_id or new_id("ami")
    row = (
        image_id,
        region.account,
        record["Name"],
        "available",
        record["CreationDate"],
        json.dumps({"ImageId": image_id, **record}),
        manifest,
        region.name,
        course,
        token,
        request,
    )
    with region.state.transaction() as database:
        for each in snapshots_of(record):
            find_snapshot(region, each)
        try:
            database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            query = "SELECT id FROM images WHERE region = ? AND owner = ? AND name = ? AND state = 'available'"
            other = database.execute(query, (region.name, region.account, record["Name"])).fetchone()
            if other is None:
                raise
            raise ServiceError(
                "InvalidAMIName.Duplicate", f"AMI name {record['Name']} is already in use by AMI {other['id']}"
            ) from error
        add_tags(database, image_id, tags)
    return image_id


def deregister_image(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The image is gone for good, its bundle in S3 is not; its snapshots are when that is asked for."""
    image_id = str(wanted["ImageId"])
    with region.state.transaction() as database:
        image = find_own_image(region, image_id)
        refuse_protected(image)
        database.execute("UPDATE images SET state = 'deregistered', client_token = NULL WHERE id = ?", (image_id,))
        database.execute("DELETE FROM tags WHERE resource = ?", (image_id,))
        database.execute("DELETE FROM permissions WHERE image = ?", (image_id,))
        if not wanted.get("DeleteAssociatedSnapshots"):
            return {"Return": True}
        results = [
            {"SnapshotId": each, "ReturnCode": _delete(region, each)}
            for each in dict.fromkeys(snapshots_of(image.record))
        ]
    return {"Return": True, "DeleteSnapshotResults": results}


def _delete(region: Region, snapshot_id: str) -> str:
    """What became of a snapshot of an image that is no more: EC2's SnapshotReturnCodes."""
    if images_of(region, snapshot_id):
        return "skipped"
    found = find_snapshot(region, snapshot_id)
    if found.owner != region.account:
        return "missing-permissions"
    remove(region, snapshot_id)
    return "success"
