"""Kernel and RAM disk images (AKI, ARI) of regions: found by id, and by what they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, code_of

_NO_IMAGE = {"InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelImage:
    """What EC2 says of one."""

    id: str
    owner: str
    type: str
    """kernel or ramdisk"""
    location: str
    """The manifest's key: buckets differ by region, and so the bucket is not part of it."""
    architecture: str = ""


def region_names(client: Client) -> tuple[str, ...]:
    """The regions that the account can use, in the client's partition."""
    with answers(client, "the list of regions"):
        return tuple(sorted(each["RegionName"] for each in client.describe_regions()["Regions"]))


def opted_in(client: Client, name: str) -> str | None:
    """Whether the account can use a region: opt-in-not-required, opted-in or not-opted-in; None when the client's
    region does not know it."""
    with answers(client, f"the region {name}"):
        try:
            found = client.describe_regions(RegionNames=[name], AllRegions=True)["Regions"]
        except ClientError as error:
            if code_of(error) == "InvalidParameterValue":
                return None
            raise
    return next((str(each.get("OptInStatus", "")) for each in found), None)


def kernel_image(client: Client, image_id: str) -> KernelImage | None:
    """The image of that id in the client's region."""
    with answers(client, f"the image {image_id}"):
        try:
            found = client.describe_images(ImageIds=[image_id])["Images"]
        except ClientError as error:
            if code_of(error) in _NO_IMAGE:
                return None
            raise
    return next(map(_image, found), None)


def kernel_images_of(client: Client, owner: str, type: str) -> tuple[KernelImage, ...]:
    """All images of one kind that an account has in the client's region, sorted by id."""
    with answers(client, f"the {type} images of {owner}"):
        found = client.describe_images(
            Owners=[owner],
            Filters=[{"Name": "image-type", "Values": [type]}, {"Name": "state", "Values": ["available"]}],
        )["Images"]
    return tuple(sorted(map(_image, found), key=lambda each: each.id))


def _image(each: Mapping[str, Any]) -> KernelImage:
    return KernelImage(
        id=each["ImageId"],
        owner=each.get("OwnerId", ""),
        type=each.get("ImageType", ""),
        location=each.get("ImageLocation", "").lstrip("/").partition("/")[2],
        architecture=each.get("Architecture", ""),
    )
