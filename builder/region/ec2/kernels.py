"""The kernel images that EC2 itself offers in us-east-1: PV-GRUB 1.04 for unpartitioned roots (hd0), and for the first
partition of a disk (hd00).

Ids and names as AWS published them in its user guide ("PV-GRUB", "Amazon PV-GRUB Kernel Image IDs").
"""

import re
from collections.abc import Mapping
from typing import Any

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.region.errors import ServiceError

PV_GRUB = {"aki-919dcaf8": "x86_64", "aki-8f9dcae6": "i386", "aki-499ccb20": "x86_64", "aki-659ccb0c": "i386"}
PARTITIONED = frozenset({"aki-499ccb20", "aki-659ccb0c"})


def loader(kernel_id: str) -> str:
    """What a kernel image is, without its version."""
    return "pv-grub-hd00" if kernel_id in PARTITIONED else "pv-grub-hd0"


def check(kernel_id: str, architecture: str) -> str:
    """The id of a kernel for that architecture; EC2's refusals for any other."""
    match = re.fullmatch(r"aki-([0-9a-f]{8}|[0-9a-f]{17})", kernel_id)
    if match is None:
        raise ServiceError("InvalidAMIID.Malformed", f'Invalid id: "{kernel_id}"')
    if kernel_id not in PV_GRUB:
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{kernel_id}]' does not exist")
    if PV_GRUB[kernel_id] != architecture:
        raise ServiceError(
            "InvalidParameterValue", f"The kernel {kernel_id} is for {PV_GRUB[kernel_id]}, not {architecture}"
        )
    return kernel_id


def _image(kernel_id: str, architecture: str) -> dict[str, Any]:
    name = f"{loader(kernel_id)}_1.04-{architecture}.gz"
    return {
        "ImageId": kernel_id,
        "ImageLocation": f"ec2-public-images-us-east-1/{name}.manifest.xml",
        "ImageType": "kernel",
        "Architecture": architecture,
        "OwnerId": AMAZON_ACCOUNT,
        "ImageOwnerAlias": AMAZON,
        "Name": name,
        "Description": "PV-GRUB release 1.04",
        "RootDeviceType": "instance-store",
        "VirtualizationType": "paravirtual",
        "Hypervisor": "xen",
        "BlockDeviceMappings": [],
        "ProductCodes": [],
    }


IMAGES: tuple[Mapping[str, Any], ...] = tuple(_image(*each) for each in PV_GRUB.items())
