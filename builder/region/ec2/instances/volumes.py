"""The EBS volumes of instances: what RunInstances makes of the image's, and DescribeVolumes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.instances.disks import short
from builder.region.ec2.instances.record import Instance, all_instances
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region, StoredImage, new_id, now
from builder.region.errors import ServiceError

Volume = Mapping[str, Any]
_LARGEST_GIB = 65536
# What of a mapping's Ebs makes another volume of it, and is kept and told.
_TOLD = ("VolumeType", "Iops", "Throughput", "Encrypted")
# Said of a volume and of no consequence here.
_KNOWN = frozenset({"SnapshotId", "VolumeSize", "DeleteOnTermination", "KmsKeyId", *_TOLD})


def wanted(image: StoredImage, overrides: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The volumes of an instance before there is one: the root's, or none for an image of the instance store."""
    root = short(str(image.record["RootDeviceName"]))
    own = [each for each in image.record["BlockDeviceMappings"] if each.get("Ebs")]
    asked = [each for each in overrides if each.get("Ebs")]
    for each in (*own, *asked):
        if short(str(each["DeviceName"])) != root:
            raise ServiceError("UnsupportedOperation", "The local region attaches no volume but the root's")
    if not own:
        if asked:
            raise ServiceError("InvalidBlockDeviceMapping", f"The root device of {image.id} is not an EBS volume")
        return []
    ebs = {**own[0]["Ebs"], **(asked[0]["Ebs"] if asked else {})}
    return [_volume(str(own[0]["DeviceName"]), ebs, own[0]["Ebs"])]


def _volume(device: str, ebs: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in ebs.items():
        if name not in _KNOWN and value:
            raise ServiceError("UnsupportedOperation", f"The local region does not offer {name} of a volume")
    if ebs.get("SnapshotId") != image["SnapshotId"]:
        raise ServiceError("InvalidBlockDeviceMapping", "snapshotId cannot be modified on root device")
    if ebs.get("DeleteOnTermination") is False:
        raise ServiceError("UnsupportedOperation", "The local region keeps no volume without its instance")
    least, size = int(image.get("VolumeSize") or 1), int(ebs.get("VolumeSize") or image.get("VolumeSize") or 1)
    if size < least:
        raise ServiceError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{image['SnapshotId']}', expect size >= {least}GB",
        )
    if size > _LARGEST_GIB:
        raise ServiceError("InvalidBlockDeviceMapping", f"A volume has up to {_LARGEST_GIB} GiB")
    told = {name: ebs[name] for name in _TOLD if ebs.get(name) is not None}
    return {"DeviceName": device, "SnapshotId": image["SnapshotId"], "Size": size, "VolumeType": "gp2", **told}


def made(volumes: Iterable[Volume]) -> list[dict[str, Any]]:
    """As volumes of one instance, which begin now."""
    return [{**each, "VolumeId": new_id("vol"), "AttachTime": now()} for each in volumes]


FILTERS = {
    "attachment.delete-on-termination": lambda each: ["true"],
    "attachment.device": lambda each: [each["Attachments"][0]["Device"]],
    "attachment.instance-id": lambda each: [each["Attachments"][0]["InstanceId"]],
    "attachment.status": lambda each: ["attached"],
    "availability-zone": lambda each: [each["AvailabilityZone"]],
    "encrypted": lambda each: [str(each["Encrypted"]).lower()],
    "size": lambda each: [str(each["Size"])],
    "snapshot-id": lambda each: [each["SnapshotId"]],
    "status": lambda each: [each["State"]],
    "volume-id": lambda each: [each["VolumeId"]],
    "volume-type": lambda each: [each["VolumeType"]],
}


def describe_volumes(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of instances that are not terminated: a volume is not without its instance here."""
    found = [
        _described(instance, each)
        for instance in all_instances(region.state)
        if instance.state != "terminated"
        for each in instance.record.get("Volumes", ())
    ]
    ids = wanted.get("VolumeIds") or ()
    missing = [each for each in ids if each not in {volume["VolumeId"] for volume in found}]
    if missing:
        raise ServiceError("InvalidVolume.NotFound", f"The volume '{missing[0]}' does not exist.")
    chosen = [each for each in found if not ids or each["VolumeId"] in ids]
    matched = matching(chosen, wanted.get("Filters") or (), FILTERS)
    shown, token = page(matched, wanted, lambda each: str(each["VolumeId"]), least=5, most=1000)
    return {"Volumes": shown, **token}


def _described(instance: Instance, volume: Volume) -> dict[str, Any]:
    attachment = {
        "AttachTime": volume["AttachTime"],
        "DeleteOnTermination": True,
        "Device": volume["DeviceName"],
        "InstanceId": instance.id,
        "State": "attached",
        "VolumeId": volume["VolumeId"],
    }
    optional = {name: volume[name] for name in ("Iops", "Throughput") if name in volume}
    return {
        "Attachments": [attachment],
        "AvailabilityZone": instance.record["AvailabilityZone"],
        "CreateTime": volume["AttachTime"],
        "Encrypted": bool(volume.get("Encrypted")),
        "MultiAttachEnabled": False,
        "Size": volume["Size"],
        "SnapshotId": volume["SnapshotId"],
        "State": "in-use",
        "VolumeId": volume["VolumeId"],
        "VolumeType": volume["VolumeType"],
        **optional,
    }
