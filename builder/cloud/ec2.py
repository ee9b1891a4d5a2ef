"""Images of EC2: found by key, found by name, registered, waited for."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, aws_command, code_of, is_loopback
from builder.errors import RegionError

KEY_TAG = "ami-factory:key"

_FILTER_VALUES = 200
"""The most values that one filter of a Describe call takes."""
_NOT_YET = {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"}
_NO_IMAGE = _NOT_YET | {"InvalidAMIID.Malformed"}
_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0)
"""Seconds between looks; the last one again and again. EC2's reads may lag behind its writes by a few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An AMI as DescribeImages tells of it."""

    id: str
    name: str
    state: str
    location: str
    created: str
    """CreationDate as it came: 2026-11-22T10:15:30.000Z"""
    key: str
    """The key of the register step that made it; empty when that was not ami-factory."""
    reason: str = ""
    """Why its state is what it is, when EC2 says so."""


class NameTaken(Exception):
    """RegisterImage: another AMI of this account and region has the name; EC2's words."""


def images_by_key(client: Client, keys: Iterable[str]) -> dict[str, Image]:
    """The caller's own available AMIs that the steps of these keys made: one DescribeImages for up to 200 keys.

    Not among them: what was deregistered, is pending or has failed. Where a key has several (two builders at once under
    two names), the oldest counts, so that every builder picks the same.
    """
    found: dict[str, Image] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _FILTER_VALUES):
        values = wanted[start : start + _FILTER_VALUES]
        images = _describe(client, f"tag:{KEY_TAG}", values)
        for image in sorted(images, key=lambda image: (image.created, image.id)):
            if image.state == "available":
                found.setdefault(image.key, image)
    return found


def image_by_name(client: Client, name: str) -> Image | None:
    """The caller's own AMI of that name."""
    return next(iter(_describe(client, "name", [literal(name)])), None)


def register_image(client: Client, request: Mapping[str, Any]) -> str:
    """Register an AMI; its id. NameTaken if there is one of that name."""
    with answers(client, f"the AMI {request['Name']}"):
        try:
            return str(client.register_image(**request)["ImageId"])
        except ClientError as error:
            if code_of(error) == "InvalidAMIName.Duplicate":
                raise NameTaken(str(error.response["Error"].get("Message", request["Name"]))) from error
            if code_of(error) == "InvalidManifest" and "ImageLocation" in request:
                raise _bundle_refused(client, request["ImageLocation"], error) from error
            raise


def _bundle_refused(client: Client, location: str, error: ClientError) -> RegionError:
    """EC2 has one code for all that can be wrong with a bundle, and few words; verify has more."""
    endpoint = client.meta.endpoint_url
    where = "" if is_loopback(endpoint) else f" --region {client.meta.region_name}"
    return RegionError(
        f"the bundle {location}: RegisterImage was refused: InvalidManifest",
        detail=str(error.response["Error"].get("Message", "")),
        hint=f"see what is wrong with it: ami-factory verify {location.removeprefix('/')}{where}",
    )


def may_register(client: Client, request: Mapping[str, Any]) -> str:
    """Ask for the right to register, and register nothing; EC2's words when it is given."""
    with answers(client, f"the AMI {request['Name']}"):
        try:
            client.register_image(**request, DryRun=True)
        except ClientError as error:
            if code_of(error) == "DryRunOperation":
                return str(error.response["Error"].get("Message", ""))
            raise
    raise RegionError(f"the AMI {request['Name']}: the region does not know dry runs, and registered it")


def kernel_architecture(client: Client, image_id: str) -> str:
    """The architecture of a kernel image (AKI) of the client's region; "" when it has none of that id."""
    with answers(client, f"the kernel image {image_id}"):
        try:
            images = client.describe_images(ImageIds=[image_id])["Images"]
        except ClientError as error:
            if code_of(error) in _NO_IMAGE:
                return ""
            raise
    return next((str(each["Architecture"]) for each in images if each.get("ImageType") == "kernel"), "")


def make_public(client: Client, image_id: str) -> None:
    """Let every account launch an AMI; nothing happens when they may already."""
    with answers(client, f"the AMI {image_id}"):
        client.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]})


def wait_available(
    client: Client,
    image_id: str,
    *,
    patience: float = 600,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Image:
    """The image, once it is available. RegionError when it fails, or is not available after `patience` seconds.

    A fresh id that EC2 does not know yet is waited for like a pending one.
    """
    end = clock() + patience
    state = "unknown"
    for pause in pauses():
        image = _look(client, image_id)
        if image is not None:
            state = image.state
            if state == "available":
                return image
            if state != "pending":
                raise RegionError(
                    f"{image_id} is {state}, and will not become available",
                    detail=image.reason,
                    hint="deregister it, and run again: "
                    + aws_command(client, f"ec2 deregister-image --image-id {image_id}"),
                )
        if clock() + pause > end:
            break
        sleep(pause)
    raise RegionError(
        f"{image_id} is not available after {patience:.0f} s (state {state})",
        hint="nothing is lost: run the same command again to go on waiting",
    )


def pauses() -> Iterator[float]:
    """Seconds to wait between looks, without end."""
    return itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))


def _look(client: Client, image_id: str) -> Image | None:
    with answers(client, f"the AMI {image_id}"):
        try:
            answer = client.describe_images(ImageIds=[image_id])
        except ClientError as error:
            if code_of(error) in _NOT_YET:
                return None
            raise
    return next((_image(each) for each in answer["Images"]), None)


def _describe(client: Client, name: str, values: list[str]) -> Iterator[Image]:
    request: dict[str, Any] = {"Owners": ["self"], "Filters": [{"Name": name, "Values": values}]}
    while True:
        with answers(client, "the AMIs of your account"):
            answer = client.describe_images(**request)
        yield from map(_image, answer["Images"])
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]


def _image(each: Mapping[str, Any]) -> Image:
    tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", ())}
    return Image(
        id=each["ImageId"],
        name=each.get("Name", ""),
        state=each.get("State", ""),
        location=each.get("ImageLocation", ""),
        created=each.get("CreationDate", ""),
        key=tags.get(KEY_TAG, ""),
        reason=each.get("StateReason", {}).get("Message", ""),
    )


def literal(text: str) -> str:
    """A filter's value that matches `text` only: EC2 reads * and ? as wildcards."""
    return "".join(f"\\{c}" if c in "\\*?" else c for c in text)
