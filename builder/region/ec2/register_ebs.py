"""RegisterImage of images whose root is an EBS volume: made of a snapshot that is there, completed, and the caller's to
use."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from builder.catalog.regions import AMAZON_ACCOUNT
from builder.region.ec2 import kernels
from builder.region.ec2.region import Region, check_id, now
from builder.region.errors import ServiceError

ROOT_DEVICE = "/dev/sda1"
ARCHITECTURES = ("i386", "x86_64", "arm64")
LARGEST_UEFI_DATA = 64 << 10
"""EC2 User Guide, "UEFI variables": the store that is handed over has up to 64 KB."""
# Of a paravirtual guest, which has no firmware and no PCI.
_FOR_HVM = ("EnaSupport", "SriovNetSupport", "BootMode", "TpmSupport", "UefiData")


def described_volume_image(
    region: Region, wanted: Mapping[str, Any], mappings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The members of the image that the request decides. `mappings` were checked before."""
    root = str(wanted.get("RootDeviceName") or ROOT_DEVICE)
    _check_root(root, mappings)
    architecture = str(wanted.get("Architecture") or "i386")
    if architecture not in ARCHITECTURES:
        raise ServiceError(
            "InvalidParameterValue", f"Value ({architecture}) for parameter architecture is not offered here"
        )
    virtualization = str(wanted.get("VirtualizationType") or "paravirtual")
    if virtualization not in ("paravirtual", "hvm"):
        raise ServiceError(
            "InvalidParameterValue", f"Value ({virtualization}) for parameter virtualizationType is invalid."
        )
    if wanted.get("BillingProducts") and region.account != AMAZON_ACCOUNT:
        raise ServiceError("UnauthorizedOperation", "You are not authorized to register images with billing products")
    own = _paravirtual(wanted, architecture) if virtualization == "paravirtual" else hvm(wanted, architecture)
    return {
        "ImageLocation": f"{region.account}/{wanted['Name']}",
        "ImageType": "machine",
        "Architecture": architecture,
        "OwnerId": region.account,
        "CreationDate": now(),
        "VirtualizationType": virtualization,
        "RootDeviceType": "ebs",
        "RootDeviceName": root,
        "Hypervisor": "xen",
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "ProductCodes": [],
        **({"BillingProducts": wanted["BillingProducts"]} if wanted.get("BillingProducts") else {}),
        **own,
    }


def _check_root(root: str, mappings: Sequence[Mapping[str, Any]]) -> None:
    for each in mappings:
        if each["DeviceName"] == root and (each.get("Ebs") or {}).get("SnapshotId"):
            return
    raise ServiceError("InvalidBlockDeviceMapping", "No root snapshot specified in device mapping.")


def _paravirtual(wanted: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    for member in _FOR_HVM:
        if wanted.get(member):
            raise ServiceError("InvalidParameterCombination", f"{member} is for images of virtualization type hvm")
    if architecture == "arm64":
        raise ServiceError("InvalidParameterCombination", "arm64 images are of virtualization type hvm")
    members: dict[str, Any] = {"EnaSupport": False}
    if kernel := wanted.get("KernelId"):
        members["KernelId"] = kernels.check(kernel, architecture)
    if ramdisk := wanted.get("RamdiskId"):
        check_id(ramdisk, ("ari",))
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{ramdisk}]' does not exist")
    return members


def hvm(wanted: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """The members that an image of its own firmware has."""
    for member in ("KernelId", "RamdiskId"):
        if wanted.get(member):
            raise ServiceError(
                "InvalidParameterCombination", f"{member} is for images of virtualization type paravirtual"
            )
    if wanted.get("SriovNetSupport") not in (None, "simple"):
        raise ServiceError("InvalidParameterValue", "Value for parameter sriovNetSupport is invalid: it is simple")
    mode = wanted.get("BootMode")
    if mode in ("uefi", "uefi-preferred") and architecture == "i386":
        raise ServiceError("InvalidParameterCombination", "i386 images boot with legacy-bios")
    if mode == "legacy-bios" and architecture == "arm64":
        raise ServiceError("InvalidParameterCombination", "arm64 images boot with uefi")
    if architecture == "arm64":
        mode = mode or "uefi"
    if wanted.get("TpmSupport") and mode not in ("uefi", "uefi-preferred"):
        raise ServiceError("InvalidParameterCombination", "TpmSupport needs the boot mode uefi")
    if wanted.get("UefiData"):
        _check_uefi_data(str(wanted["UefiData"]), mode)
    kept = ("TpmSupport", "SriovNetSupport", "UefiData")
    return {
        "EnaSupport": bool(wanted.get("EnaSupport")),
        **({"BootMode": mode} if mode else {}),
        **{each: wanted[each] for each in kept if wanted.get(each)},
    }


def _check_uefi_data(text: str, mode: str | None) -> None:
    if mode not in ("uefi", "uefi-preferred"):
        raise ServiceError("InvalidParameterCombination", "UefiData needs the boot mode uefi")
    try:
        content = b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content or len(content) > LARGEST_UEFI_DATA:
        raise ServiceError(
            "InvalidParameterValue", f"UefiData is base64 of up to {LARGEST_UEFI_DATA} bytes: a UEFI variable store"
        )
