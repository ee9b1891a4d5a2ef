"""AMIs of the caller's, whole: found by id, by key or by what they are copies of; copied, tagged, dated, removed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builder.cloud.asking import all_of, asked
from builder.cloud.ec2 import KEY_TAG, literal
from builder.cloud.ec2_calls import Answer
from builder.cloud.errors import Client, refused_with
from builder.errors import RegionError

SOURCE_TAG = "ami-factory:source"
"""Of a copy: REGION/AMI of what it is a copy of. EC2 tells it too (SourceImageId), but of young images only."""
REPLACED_TAG = "ami-factory:replaced-by"
"""Id, in the same region, of the AMI to use instead."""

_GONE = {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed"}
_VALUES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The root volume of an AMI of EBS, as its block device mapping has it."""

    type: str = ""
    size: int = 0
    """GiB"""
    iops: int = 0
    throughput: int = 0
    delete_on_termination: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ami:
    """What DescribeImages tells; "" for what it does not tell."""

    id: str
    name: str
    state: str
    region: str
    reason: str = ""
    created: str = ""
    """2026-11-22T10:15:30.000Z"""
    description: str = ""
    location: str = ""
    architecture: str = ""
    virtualization: str = ""
    root_device: str = ""
    boot_mode: str = ""
    imds: str = ""
    tpm: str = ""
    sriov: str = ""
    ena: bool = False
    public: bool = False
    volume: Volume | None = None
    snapshots: tuple[str, ...] = ()
    deprecated: str = ""
    """When, such as 2027-01-01T00:00:00.000Z."""
    protection: str = ""
    """enabled-without-cooldown or enabled-with-cooldown; "" without."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.tags.get(KEY_TAG, "")

    @property
    def source(self) -> str:
        """REGION/AMI of what it is a copy of; "" for an original."""
        return self.tags.get(SOURCE_TAG, "")

    @property
    def origin(self) -> str:
        """REGION/AMI of the original: its own, or that of what it is a copy of."""
        return self.source or f"{self.region}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A CopyImage request; equal ones, by their token, make one AMI."""

    source_region: str
    source: str
    name: str
    description: str
    token: str
    image_tags: Mapping[str, str]
    snapshot_tags: Mapping[str, str]
    """Empty where there are no snapshots."""
    encrypted: bool = False
    kms_key: str = ""

    def request(self) -> dict[str, Any]:
        tags = (("image", self.image_tags), ("snapshot", self.snapshot_tags))
        asked_for: dict[str, Any] = {
            "SourceRegion": self.source_region,
            "SourceImageId": self.source,
            "Name": self.name,
            "Description": self.description,
            "ClientToken": self.token,
            "Encrypted": self.encrypted,
            "KmsKeyId": self.kms_key,
            "TagSpecifications": [{"ResourceType": kind, "Tags": _tags(given)} for kind, given in tags if given],
        }
        return {name: value for name, value in asked_for.items() if value}


def ami(client: Client, region: str, image_id: str) -> Ami | None:
    """The AMI of that id; None when there is none, or none yet."""
    try:
        answer = asked(client, "describe_images", {"ImageIds": [image_id]}, f"the AMI {image_id} in {region}")
    except RegionError as error:
        if refused_with(error) in _GONE:
            return None
        raise
    return next((_ami(each, region) for each in answer["Images"]), None)


def own_amis(client: Client, region: str, filters: Mapping[str, Sequence[str]]) -> tuple[Ami, ...]:
    """The caller's own AMIs that pass the filters, the oldest first, in whatever state; those that are switched off
    (DisableImage) too."""
    named = [{"Name": name, "Values": list(values)} for name, values in filters.items()]
    request: dict[str, Any] = {"Owners": ["self"], "IncludeDeprecated": True, "IncludeDisabled": True}
    found = all_of(client, "describe_images", "Images", {**request, "Filters": named}, f"your AMIs in {region}")
    return tuple(sorted((_ami(each, region) for each in found), key=lambda each: (each.created, each.id)))


def made_by_key(client: Client, region: str, keys: Iterable[str]) -> dict[str, Ami]:
    """The oldest available AMI of each key that a step of ours registered here: none of the copies."""
    found: dict[str, Ami] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _VALUES):
        for each in own_amis(client, region, {f"tag:{KEY_TAG}": wanted[start : start + _VALUES]}):
            if each.state == "available" and not each.source:
                found.setdefault(each.key, each)
    return found


def copies_of(client: Client, region: str, origin: str) -> tuple[Ami, ...]:
    """The copies of REGION/AMI that a region has, in whatever state."""
    return own_amis(client, region, {f"tag:{SOURCE_TAG}": [literal(origin)]})


def ours(client: Client, region: str) -> tuple[Ami, ...]:
    """All AMIs of the caller's that the factory registered or copied there."""
    return own_amis(client, region, {"tag-key": [KEY_TAG, SOURCE_TAG]})


def copy_image(client: Client, wanted: Copy) -> str:
    """Begin a copy into the client's region; the id of what will be the AMI."""
    about = f"the copy of {wanted.source} to {client.meta.region_name}"
    return str(asked(client, "copy_image", wanted.request(), about)["ImageId"])


def deregister(client: Client, image_id: str) -> None:
    """Remove an AMI; no error when it is not there."""
    try:
        asked(client, "deregister_image", {"ImageId": image_id}, f"the AMI {image_id}")
    except RegionError as error:
        if refused_with(error) not in _GONE:
            raise


def tag(client: Client, resources: Sequence[str], tags: Mapping[str, str]) -> None:
    asked(client, "create_tags", {"Resources": list(resources), "Tags": _tags(tags)}, f"the tags of {resources[0]}")


def deprecate(client: Client, image_id: str, when: str) -> None:
    """Date an AMI (2027-01-01T00:00:00Z), or take the date away ("")."""
    request, operation = {"ImageId": image_id}, "disable_image_deprecation"
    if when:
        request, operation = {**request, "DeprecateAt": when}, "enable_image_deprecation"
    asked(client, operation, request, f"the deprecation of {image_id}")


def protect(client: Client, image_id: str, how: str) -> None:
    """Keep an AMI from being deregistered: "on", "cooldown", or no more ("")."""
    about = f"the deregistration protection of {image_id}"
    if not how:
        asked(client, "disable_image_deregistration_protection", {"ImageId": image_id}, about)
        return
    request = {"ImageId": image_id, "WithCooldown": how == "cooldown"}
    asked(client, "enable_image_deregistration_protection", request, about)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def _ami(each: Answer, region: str) -> Ami:
    volumes = [mapping for mapping in each.get("BlockDeviceMappings", ()) if mapping.get("Ebs")]
    root = next((m["Ebs"] for m in volumes if m.get("DeviceName") == each.get("RootDeviceName")), None)
    protection = each.get("DeregistrationProtection", "")
    return Ami(
        id=each["ImageId"],
        name=each.get("Name", ""),
        state=each.get("State", ""),
        region=region,
        reason=each.get("StateReason", {}).get("Message", ""),
        created=each.get("CreationDate", ""),
        description=each.get("Description", ""),
        location=each.get("ImageLocation", ""),
        architecture=each.get("Architecture", ""),
        virtualization=each.get("VirtualizationType", ""),
        root_device=each.get("RootDeviceName", ""),
        boot_mode=each.get("BootMode", ""),
        imds=each.get("ImdsSupport", ""),
        tpm=each.get("TpmSupport", ""),
        sriov=each.get("SriovNetSupport", ""),
        ena=bool(each.get("EnaSupport")),
        public=bool(each.get("Public")),
        volume=_volume(root) if root else None,
        snapshots=tuple(m["Ebs"]["SnapshotId"] for m in volumes if m["Ebs"].get("SnapshotId")),
        deprecated=each.get("DeprecationTime", ""),
        protection="" if protection == "disabled" else protection,
        tags={one["Key"]: one["Value"] for one in each.get("Tags", ())},
    )


def _volume(ebs: Answer) -> Volume:
    return Volume(
        type=ebs.get("VolumeType", ""),
        size=ebs.get("VolumeSize", 0),
        iops=ebs.get("Iops", 0),
        throughput=ebs.get("Throughput", 0),
        delete_on_termination=bool(ebs.get("DeleteOnTermination")),
    )
