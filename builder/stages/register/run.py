"""Finds the AMI by its key tag, or registers it; the tag travels in the call itself."""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from builder.cloud import ec2, session
from builder.cloud.errors import Client, aws_command, refused_with
from builder.errors import RegionError
from builder.stages.contract import Result, StageContext
from builder.stages.register import rules
from builder.stages.register.spec import RegisterSpec, RootVolume

_LOOKS = 6
"""How often a name that is taken is looked up: what EC2 refuses as a duplicate, its reads may not show yet."""


def run(spec: RegisterSpec, context: StageContext) -> Result:
    """The AMI of this key, available. Two builders at once end with the same AMI."""
    client = session.client("ec2", context.surroundings, spec.region)
    image = ec2.images_by_key(client, [context.key]).get(context.key)
    if image is not None:
        return _result(image, found=True)
    asked = _asked(spec, context)
    try:
        image_id, found = _registered(client, asked), False
    except ec2.NameTaken:
        image_id, found = taken_by(client, spec.name, context.key).id, True
    context.progress("register", 0, 1, "AMIs")
    image = ec2.wait_available(client, image_id)
    context.progress("register", 1, 1, "AMIs")
    return _result(image, found=found)


def _asked(spec: RegisterSpec, context: StageContext) -> dict[str, Any]:
    """The call, for a bundle or for a snapshot; RecipeError for what EC2 would refuse of it."""
    if spec.volume is None:
        rules.refuse(spec)
        return request(spec, context.key, context.input("upload").result["location"])
    made = context.input("snapshot").result
    rules.refuse(spec, snapshot_size=made["volume_size"])
    return request(spec, context.key, snapshot=made["snapshot_id"])


def _registered(client: Client, asked: Mapping[str, Any]) -> str:
    """The id of the new AMI. A snapshot that was completed a moment ago may not be seen everywhere yet."""
    for pause in itertools.islice(ec2.pauses(), _LOOKS):
        try:
            return ec2.register_image(client, asked)
        except RegionError as error:
            if refused_with(error) != "InvalidSnapshot.NotFound":
                raise
        time.sleep(pause)
    return ec2.register_image(client, asked)


def request(spec: RegisterSpec, key: str, location: str = "", *, snapshot: str = "") -> dict[str, Any]:
    """The RegisterImage call: only the fields that apply. Either a bundle's manifest or a snapshot is given."""
    tags = {**dict(spec.tags), "Name": spec.name, ec2.KEY_TAG: key}
    asked: dict[str, Any] = {
        "Name": spec.name,
        "Description": spec.description,
        "ImageLocation": location,
        "Architecture": spec.architecture,
        "VirtualizationType": spec.virtualization,
        "KernelId": spec.kernel_id,
        "RamdiskId": spec.ramdisk_id,
        "RootDeviceName": spec.root_device_name,
        "BlockDeviceMappings": [
            *([_root(spec.root_device_name, spec.volume, snapshot)] if spec.volume else []),
            *({"DeviceName": device, "VirtualName": virtual} for device, virtual in spec.block_device_mappings),
        ],
        "EnaSupport": spec.ena,
        "SriovNetSupport": spec.sriov,
        "BootMode": spec.boot_mode,
        "ImdsSupport": spec.imds,
        "TpmSupport": spec.tpm,
        "UefiData": spec.uefi_data,
        "BillingProducts": list(spec.billing_products),
        "TagSpecifications": [
            {"ResourceType": "image", "Tags": [{"Key": name, "Value": tags[name]} for name in sorted(tags)]}
        ],
    }
    return {name: value for name, value in asked.items() if value}


def _root(device: str, volume: RootVolume, snapshot: str) -> dict[str, Any]:
    """The mapping of the root. No encryption: EC2 refuses the field where there is a snapshot, which decides it."""
    ebs: dict[str, Any] = {
        "SnapshotId": snapshot,
        "VolumeType": volume.type,
        "VolumeSize": volume.size,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
    }
    given = {name: value for name, value in ebs.items() if value}
    return {"DeviceName": device, "Ebs": {**given, "DeleteOnTermination": volume.delete_on_termination}}


def taken_by(client: Client, name: str, key: str, *, sleep: Callable[[float], None] = time.sleep) -> ec2.Image:
    """The AMI that has the name, when it is of this key: another builder was quicker. RegionError for any other AMI."""
    for _, pause in zip(range(_LOOKS), ec2.pauses(), strict=False):
        image = ec2.image_by_name(client, name)
        if image is not None and image.key == key:
            return image
        if image is not None:
            raise _name_taken(client, image)
        sleep(pause)
    raise RegionError(
        f'the name "{name}" is taken, by an AMI that the region does not show',
        hint="wait a minute and run it again; if it stays so, change register.name in the recipe",
    )


def _result(image: ec2.Image, *, found: bool) -> Result:
    return {"image_id": image.id, "name": image.name, "location": image.location, "found": found}


def _name_taken(client: Client, image: ec2.Image) -> RegionError:
    maker = f"built by ami-factory for the key {image.key[:12]}" if image.key else "not built by ami-factory"
    remedy = aws_command(client, f"ec2 deregister-image --image-id {image.id}")
    return RegionError(
        f'the name "{image.name}" is taken by {image.id}',
        detail=f"{image.id} was made {image.created or 'some time ago'}, {maker}; it is at {image.location}.",
        hint=f"change register.name in the recipe, or deregister it: {remedy}",
    )
