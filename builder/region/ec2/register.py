"""RegisterImage and DeregisterImage."""

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
from builder.region.ec2.tags import add_tags, check_tags, tags_of_specifications
from builder.region.errors import ServiceError

NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
ROOT_DEVICE = "/dev/sda1"


def register_image(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Take the image up with all that was said of it and its tags, or refuse it and change nothing."""
    name = str(wanted["Name"])
    if NAME.fullmatch(name) is None:
        raise ServiceError(
            "InvalidAMIName.Malformed",
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '[', "
            "']', ' ', '.', '/', '-', ''', '@' and '_'",
        )
    if len(wanted.get("Description") or "") > 255:
        raise ServiceError("InvalidParameterValue", "The description of an image has up to 255 characters")
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "image")
    check_tags(tags)
    mappings = _checked_mappings(wanted.get("BlockDeviceMappings") or ())
    if not wanted.get("ImageLocation"):
        raise ServiceError(
            "MissingParameter",
            "The request must contain the parameter ImageLocation: the local region has no EBS snapshots to start from",
        )
    bundle = fetch_bundle(region, str(wanted["ImageLocation"]))
    record = {
        **_described_bundle(region, wanted, bundle),
        "Name": name,
        "BlockDeviceMappings": mappings,
        **({"ImageOwnerAlias": AMAZON} if region.account == AMAZON_ACCOUNT else {}),
        **({"Description": wanted["Description"]} if wanted.get("Description") else {}),
        **{member: wanted[member] for member in ("ImdsSupport",) if wanted.get(member)},
    }
    return {"ImageId": _insert(region, record, tags, bundle.text)}


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
    extra = _paravirtual(wanted, bundle, architecture) if paravirtual else _hvm(wanted)
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
        check_id(kernel, ("aki",))
        if kernel not in kernels.PV_GRUB:
            raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{kernel}]' does not exist")
        if kernels.PV_GRUB[kernel] != architecture:
            raise ServiceError(
                "InvalidParameterValue", f"The kernel {kernel} is for {kernels.PV_GRUB[kernel]}, not {architecture}"
            )
        members["KernelId"] = kernel
    if ramdisk:
        check_id(ramdisk, ("ari",))
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{ramdisk}]' does not exist")
    return members


def _hvm(wanted: Mapping[str, Any]) -> dict[str, Any]:
    for member in ("KernelId", "RamdiskId"):
        if wanted.get(member):
            raise ServiceError(
                "InvalidParameterCombination", f"{member} is for images of virtualization type paravirtual"
            )
    if wanted.get("SriovNetSupport") not in (None, "simple"):
        raise ServiceError("InvalidParameterValue", "Value for parameter sriovNetSupport is invalid: it is simple")
    _refuse_uefi(wanted)
    if wanted.get("TpmSupport") and wanted.get("BootMode") not in ("uefi", "uefi-preferred"):
        raise ServiceError("InvalidParameterCombination", "TpmSupport needs the boot mode uefi")
    kept = ("BootMode", "TpmSupport", "SriovNetSupport")
    return {"EnaSupport": bool(wanted.get("EnaSupport"))} | {each: wanted[each] for each in kept if wanted.get(each)}


def _refuse_uefi(wanted: Mapping[str, Any]) -> None:
    if wanted.get("UefiData"):
        raise ServiceError("InvalidParameterCombination", "UefiData is for images whose root device is an EBS volume")
    if wanted.get("BillingProducts"):
        raise ServiceError("UnauthorizedOperation", "You are not authorized to register images with billing products")


def _root_device(wanted: Mapping[str, Any], bundle: Bundle) -> str:
    root = wanted.get("RootDeviceName") or dict(bundle.manifest.block_device_mapping).get("root") or ROOT_DEVICE
    if wanted.get("RootDeviceName") and DEVICE.fullmatch(root) is None:
        raise ServiceError("InvalidParameterValue", f"Value ({root}) for parameter rootDeviceName is invalid")
    return str(root)


def _checked_mappings(mappings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Instance store, and devices taken away. An EBS volume needs a snapshot, which the local region does not have."""
    checked = []
    for each in mappings:
        device = each.get("DeviceName")
        if not device:
            raise ServiceError("MissingParameter", "The request must contain the parameter DeviceName of each mapping")
        if each.get("Ebs"):
            raise ServiceError("UnsupportedOperation", "The local region has no EBS volumes and snapshots yet")
        if DEVICE.fullmatch(device) is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Invalid device name '{device}'")
        virtual = each.get("VirtualName")
        if virtual is None and each.get("NoDevice") is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Device '{device}' is mapped to nothing")
        if virtual is not None and re.fullmatch(r"ami|root|swap|ephemeral\d+", virtual) is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Invalid virtual name '{virtual}'")
        checked.append({name: each[name] for name in ("DeviceName", "VirtualName", "NoDevice") if name in each})
    names = [each["DeviceName"].removeprefix("/dev/") for each in checked]
    for name in names:
        if names.count(name) > 1:
            raise ServiceError("InvalidBlockDeviceMapping", f"The device '{name}' is used in more than one mapping")
    return checked


def _insert(region: Region, record: Mapping[str, Any], tags: Mapping[str, str], manifest: bytes) -> str:
    """One transaction: the name is free and taken, the image and its tags are there, or nothing is."""
    image_id = new_id("ami")
    row = (
        image_id,
        region.account,
        record["Name"],
        "available",
        record["CreationDate"],
        json.dumps({"ImageId": image_id, **record}),
        manifest,
        region.name,
    )
    with region.state.transaction() as database:
        try:
            database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
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
    """The image is gone for good, its bundle in S3 is not."""
    image_id = str(wanted["ImageId"])
    with region.state.transaction() as database:
        find_own_image(region, image_id)
        database.execute("UPDATE images SET state = 'deregistered' WHERE id = ?", (image_id,))
        database.execute("DELETE FROM tags WHERE resource = ?", (image_id,))
        database.execute("DELETE FROM permissions WHERE image = ?", (image_id,))
    return {"Return": True}


def copy_image(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del region, wanted
    raise ServiceError("UnsupportedOperation", "The local region is one region, and does not copy images yet")
