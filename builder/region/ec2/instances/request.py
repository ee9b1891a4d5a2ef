"""What RunInstances may be asked for, and EC2's refusals."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from builder.catalog import instance_types
from builder.catalog.instance_types import InstanceType
from builder.errors import RecipeError
from builder.region.ec2 import kernels
from builder.region.ec2.places import ZONES
from builder.region.ec2.region import Region, StoredImage, all_images, check_id
from builder.region.errors import ServiceError
from builder.region.state import Row

DEFAULT_TYPE = "m1.small"
LARGEST_USER_DATA = 16384
_HANDLED = frozenset(
    {
        "BlockDeviceMappings", "ClientToken", "DisableApiTermination", "DryRun", "ImageId",
        "InstanceInitiatedShutdownBehavior", "InstanceType", "KernelId", "KeyName", "MaxCount", "MetadataOptions",
        "MinCount", "Placement", "RamdiskId", "SecurityGroupIds", "SecurityGroups", "TagSpecifications", "UserData",
    }
)  # fmt: skip
# What says no to something that the local region does not do either.
_ALLOWED: Mapping[str, object] = {
    "DisableApiStop": False,
    "EbsOptimized": False,
    "EnclaveOptions": {"Enabled": False},
    "HibernationOptions": {"Configured": False},
    "Monitoring": {"Enabled": False},
}
_METADATA = {
    "HttpTokens": ("optional", "required"),
    "HttpEndpoint": ("enabled", "disabled"),
    "HttpProtocolIpv6": ("disabled", "enabled"),
    "InstanceMetadataTags": ("disabled", "enabled"),
}


def invalid(value: object, parameter: str, why: str = "") -> ServiceError:
    """EC2's words for a value that cannot be."""
    return ServiceError("InvalidParameterValue", f"Value ({value}) for parameter {parameter} is invalid. {why}".strip())


def refuse_unkept(wanted: Mapping[str, Any]) -> None:
    """Whatever would make another instance of it, and is not done here."""
    for name, value in wanted.items():
        if name not in _HANDLED and value and value != _ALLOWED.get(name):
            raise ServiceError("UnsupportedOperation", f"The local region does not offer {name} of RunInstances")


def counts(wanted: Mapping[str, Any], room: int) -> int:
    """How many instances to start: as many as there is room for, of what was asked."""
    least, most = int(wanted["MinCount"]), int(wanted["MaxCount"])
    if least < 1:
        raise invalid(least, "minCount", "It must be at least 1.")
    if most < least:
        raise invalid(most, "maxCount", "It must not be less than minCount.")
    if least > room:
        raise ServiceError(
            "InstanceLimitExceeded",
            f"You have requested more instances ({least}) than there is room for: the local region can start {room} "
            "more. Terminate some, or give instances less memory (ami-factory region start --guest-memory).",
        )
    return min(most, room)


def find_image(region: Region, image_id: str) -> StoredImage:
    """An image that the caller may start."""
    check_id(image_id, ("ami",))
    found = next((each for each in all_images(region) if each.id == image_id), None)
    if found is None:
        row = region.state.row("SELECT state FROM images WHERE id = ?", (image_id,))
        if row is not None:
            raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available")
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    if not found.may_be_launched_by(region.account):
        raise ServiceError("AuthFailure", f"Not authorized for images: [{image_id}]")
    if found.state != "available":
        raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is {found.state}, not available")
    return found


def find_type(wanted: Mapping[str, Any], image: StoredImage) -> InstanceType:
    """The instance type, which must be able to run this image."""
    name = str(wanted.get("InstanceType") or DEFAULT_TYPE)
    try:
        found = instance_types.instance_type(name)
    except RecipeError as error:
        raise ServiceError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.") from error
    architecture = image.record["Architecture"]
    if architecture not in found.architectures:
        raise ServiceError(
            "InvalidParameterValue",
            f"The architecture '{','.join(found.architectures)}' of the specified instance type does not match the "
            f"architecture '{architecture}' of the specified AMI. Specify an instance type and an AMI that have "
            "matching architectures, and try again.",
        )
    hvm = image.record["VirtualizationType"] == "hvm"
    if ("hvm" if hvm else "pv") not in found.virtualization:
        word, such = ("hvm", "t3.micro") if hvm else ("paravirtual", "m1.small")
        raise ServiceError(
            "InvalidParameterCombination",
            f"Virtualization type '{word}' is not supported for instances of type '{name}'. "
            f"Specify an instance type that supports it, such as {such}.",
        )
    root = image.record["RootDeviceType"]
    if root not in found.root_devices:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The AMI '{image.id}' with an {root} root device is not supported for the instance type '{name}'.",
        )
    if found.nitro and not image.record.get("EnaSupport"):
        raise ServiceError(
            "InvalidParameterCombination",
            f"Enhanced networking with the Elastic Network Adapter (ENA) is required for the '{name}' instance type. "
            "Ensure that you are using an AMI that is enabled for ENA.",
        )
    return found


def find_firmware(chosen: InstanceType, image: StoredImage) -> str:
    """What starts an HVM image on a type: bios or uefi; "" for a paravirtual one."""
    from builder.machine.guest import firmwares

    if image.record["VirtualizationType"] != "hvm":
        return ""
    found = firmwares(str(image.record.get("BootMode") or ""), nitro=chosen.nitro)
    if not found:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The boot mode 'uefi' of the AMI '{image.id}' is not supported for the instance type '{chosen.name}'.",
        )
    return found[0].value


def find_kernel(wanted: Mapping[str, Any], image: StoredImage) -> str | None:
    """The AKI: the caller's, or the image's."""
    if ramdisk := wanted.get("RamdiskId"):
        check_id(ramdisk, ("ari",))
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{ramdisk}]' does not exist")
    kernel = wanted.get("KernelId")
    if kernel and image.record["VirtualizationType"] == "hvm":
        raise ServiceError("InvalidParameterCombination", "kernelId is for images of virtualization type paravirtual")
    if not kernel:
        return image.record.get("KernelId")
    check_id(kernel, ("aki",))
    if kernel not in kernels.PV_GRUB:
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{kernel}]' does not exist")
    architecture = image.record["Architecture"]
    if kernels.PV_GRUB[kernel] != architecture:
        raise ServiceError(
            "InvalidParameterValue", f"The kernel {kernel} is for {kernels.PV_GRUB[kernel]}, not {architecture}"
        )
    return str(kernel)


def find_key_pair(region: Region, name: str | None) -> Row | None:
    if not name:
        return None
    found = region.state.row("SELECT * FROM key_pairs WHERE name = ?", (name,))
    if found is None:
        raise ServiceError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
    return found


def decode_user_data(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServiceError("InvalidParameterValue", "Invalid BASE64 encoding of user data") from error
    if len(data) > LARGEST_USER_DATA:
        raise ServiceError(
            "InvalidParameterValue",
            f"User data is limited to {LARGEST_USER_DATA} bytes; these are {len(data)}",
        )
    return data or None


def metadata_options(asked: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for over what there is."""
    options = dict(present)
    for name, value in asked.items():
        if name in _METADATA and value not in _METADATA[name]:
            raise invalid(value, name[0].lower() + name[1:], f"It is one of {', '.join(_METADATA[name])}.")
        if name == "HttpPutResponseHopLimit" and not 1 <= int(value) <= 64:
            raise invalid(value, "httpPutResponseHopLimit", "It is 1 to 64.")
        if name == "HttpProtocolIpv6" and value == "enabled":
            raise ServiceError("UnsupportedOperation", "The local region's network has no IPv6")
        if name in options:
            options[name] = value
    return options


def default_metadata_options(image: StoredImage) -> dict[str, Any]:
    """IMDSv1 and v2, unless the image was registered for v2 alone: then a hop more, too, as EC2 gives it."""
    required = image.record.get("ImdsSupport") == "v2.0"
    return {
        "HttpTokens": "required" if required else "optional",
        "HttpPutResponseHopLimit": 2 if required else 1,
        "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "disabled",
    }


def find_zone(placement: Mapping[str, Any]) -> str:
    """The zone asked for, or the first."""
    names = dict(ZONES)
    for name, value in placement.items():
        if name == "Tenancy" and value != "default":
            raise ServiceError("UnsupportedOperation", f"The local region has no tenancy but default, not '{value}'")
        if name not in ("AvailabilityZone", "AvailabilityZoneId", "Tenancy") and value:
            raise ServiceError("UnsupportedOperation", f"The local region does not offer {name} of a placement")
    zone, identifier = placement.get("AvailabilityZone"), placement.get("AvailabilityZoneId")
    if zone and zone not in names:
        raise ServiceError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    if identifier and identifier not in names.values():
        raise ServiceError("InvalidParameterValue", f"Invalid availability zone id: [{identifier}]")
    by_id = next((name for name, its in ZONES if its == identifier), None)
    if zone and by_id and zone != by_id:
        raise ServiceError("InvalidParameterCombination", f"{zone} and {identifier} are two zones")
    return str(zone or by_id or ZONES[0][0])


def check_shutdown(behavior: str | None, *, volumes: bool) -> str:
    """What becomes of an instance that powers off; only one whose root is a volume can be stopped."""
    if behavior not in (None, "stop", "terminate"):
        raise invalid(behavior, "instanceInitiatedShutdownBehavior", "It is stop or terminate.")
    if behavior == "stop" and not volumes:
        raise ServiceError(
            "InvalidParameterCombination",
            "The attribute instanceInitiatedShutdownBehavior can only be used for EBS-backed AMIs.",
        )
    return behavior or ("stop" if volumes else "terminate")


def check_token(token: str | None) -> None:
    if token and (len(token) > 64 or not token.isascii()):
        raise invalid(token, "clientToken", "It has up to 64 ASCII characters.")
