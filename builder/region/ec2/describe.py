"""DescribeImages."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region, StoredImage, all_images, check_id
from builder.region.ec2.retire import is_deprecated
from builder.region.errors import ServiceError

ALIASES = ("self", "amazon", "aws-backup-vault", "aws-marketplace")


def _member(name: str) -> Callable[[StoredImage], Iterable[str]]:
    def values(image: StoredImage) -> Iterable[str]:
        value = image.described().get(name)
        if value is None:
            return ()
        return (str(value).lower(),) if isinstance(value, bool) else (str(value),)

    return values


def _of_mappings(name: str) -> Callable[[StoredImage], Iterable[str]]:
    return lambda image: [each[name] for each in image.record["BlockDeviceMappings"] if name in each]


def _of_volumes(name: str) -> Callable[[StoredImage], Iterable[str]]:
    def values(image: StoredImage) -> Iterable[str]:
        found = [each["Ebs"].get(name) for each in image.record["BlockDeviceMappings"] if "Ebs" in each]
        return [str(each).lower() if isinstance(each, bool) else str(each) for each in found if each is not None]

    return values


def _of_reason(name: str) -> Callable[[StoredImage], Iterable[str]]:
    return lambda image: [image.described()["StateReason"][name]] if image.reason else []


def _nothing(image: StoredImage) -> Iterable[str]:
    """No image here has what this filter is about, so that it lets none through."""
    del image
    return ()


# All that the API reference lists for DescribeImages.
FILTERS: Mapping[str, Callable[[StoredImage], Iterable[str]]] = {
    "architecture": _member("Architecture"),
    "block-device-mapping.device-name": _of_mappings("DeviceName"),
    "block-device-mapping.delete-on-termination": _of_volumes("DeleteOnTermination"),
    "block-device-mapping.encrypted": _of_volumes("Encrypted"),
    "block-device-mapping.snapshot-id": _of_volumes("SnapshotId"),
    "block-device-mapping.volume-size": _of_volumes("VolumeSize"),
    "block-device-mapping.volume-type": _of_volumes("VolumeType"),
    "boot-mode": _member("BootMode"),
    "creation-date": _member("CreationDate"),
    "description": _member("Description"),
    "ena-support": _member("EnaSupport"),
    "hypervisor": _member("Hypervisor"),
    "image-id": _member("ImageId"),
    "image-type": _member("ImageType"),
    "is-public": _member("Public"),
    "kernel-id": _member("KernelId"),
    "manifest-location": _member("ImageLocation"),
    "name": _member("Name"),
    "owner-alias": _member("ImageOwnerAlias"),
    "owner-id": _member("OwnerId"),
    "ramdisk-id": _member("RamdiskId"),
    "root-device-name": _member("RootDeviceName"),
    "root-device-type": _member("RootDeviceType"),
    "source-image-id": _member("SourceImageId"),
    "source-image-region": _member("SourceImageRegion"),
    "sriov-net-support": _member("SriovNetSupport"),
    "state": _member("State"),
    "state-reason-code": _of_reason("Code"),
    "state-reason-message": _of_reason("Message"),
    "tag-key": lambda image: image.tags,
    "virtualization-type": _member("VirtualizationType"),
    **dict.fromkeys(
        (
            "free-tier-eligible",
            "image-allowed",
            "image-watermark.source-image-creation-time",
            "image-watermark.source-image-id",
            "image-watermark.source-image-region",
            "image-watermark.watermark-creation-time",
            "image-watermark.watermark-key",
            "instance-type-specification.supported-instance-type",
            "instance-type-specification.unsupported-instance-type",
            "platform",
            "product-code",
            "product-code.type",
            "public-ssm-parameter-name",
            "scan-result.critical-fix-available-since",
            "scan-result.finding-scan-date",
            "scan-result.high-fix-available-since",
            "scan-result.highest-finding-severity-label",
            "scan-result.informational-fix-available-since",
            "scan-result.low-fix-available-since",
            "scan-result.medium-fix-available-since",
            "source-instance-id",
        ),
        _nothing,
    ),
}


def describe_images(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    images = [each for each in all_images(region) if each.may_be_launched_by(region.account)]
    ids = wanted.get("ImageIds") or ()
    if ids:
        images = _of_ids(images, ids)
    elif not wanted.get("IncludeDeprecated"):
        images = [each for each in images if each.owner == region.account or not is_deprecated(each)]
    owners = [_owner(region, each) for each in wanted.get("Owners") or ()]
    if owners:
        images = [each for each in images if _is_of(each, owners)]
    users = [_executable_by(region, each) for each in wanted.get("ExecutableUsers") or ()]
    if users:
        images = [each for each in images if any(_is_launchable(each, user) for user in users)]
    images = matching(images, wanted.get("Filters") or (), FILTERS, lambda image: image.tags)
    shown, token = page(images, wanted, lambda image: image.id, least=1, most=1000)
    return {"Images": [image.described() for image in shown], **token}


def _of_ids(images: list[StoredImage], ids: Iterable[str]) -> list[StoredImage]:
    """In the order of the list. All that are missing are named, as EC2 does."""
    for each in ids:
        check_id(each)
    missing = sorted(set(ids) - {image.id for image in images})
    if missing:
        listed = ", ".join(missing)
        word = "id" if len(missing) == 1 else "ids"
        does = "does" if len(missing) == 1 else "do"
        raise ServiceError("InvalidAMIID.NotFound", f"The image {word} '[{listed}]' {does} not exist")
    return [image for image in images if image.id in set(ids)]


def _owner(region: Region, owner: str) -> str:
    if owner == "self":
        return region.account
    if owner not in ALIASES and re.fullmatch(r"\d{12}", owner) is None:
        raise ServiceError("InvalidUserID.Malformed", f'Invalid user id: "{owner}"')
    return owner


def _is_of(image: StoredImage, owners: list[str]) -> bool:
    return image.owner in owners or image.record.get("ImageOwnerAlias") in owners


def _executable_by(region: Region, user: str) -> str:
    if user == "self":
        return region.account
    if user != "all" and re.fullmatch(r"\d{12}", user) is None:
        raise ServiceError("InvalidUserID.Malformed", f'Invalid user id: "{user}"')
    return user


def _is_launchable(image: StoredImage, user: str) -> bool:
    """By explicit permission: an owner's own images are not among those of ExecutableUsers=self."""
    return image.public if user == "all" else user in image.users
