"""DescribeInstanceAttribute, ModifyInstanceAttribute, ResetInstanceAttribute, ModifyInstanceMetadataOptions."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from builder.region.ec2.instances import request
from builder.region.ec2.instances.record import Instance, described_groups, described_volumes, find_instance
from builder.region.ec2.instances.run import find_groups
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError

Member = Callable[[Instance], dict[str, Any]]


def _value(name: str) -> Member:
    """A member that is a structure with one value; an empty one when the instance has none."""
    return lambda instance: {"Value": instance.record[name]} if name in instance.record else {}


def _always(value: object) -> Member:
    """What is the same for every instance of the instance store."""
    return lambda instance: {"Value": value}


def _user_data(instance: Instance) -> dict[str, Any]:
    return {"Value": base64.b64encode(instance.user_data).decode()} if instance.user_data else {}


def _empty(instance: Instance) -> dict[str, Any]:
    del instance
    return {}


# By the attribute's name: the member of the answer, and what is in it.
ATTRIBUTES: Mapping[str, tuple[str, Member]] = {
    "userData": ("UserData", _user_data),
    "instanceType": ("InstanceType", _value("InstanceType")),
    "kernel": ("KernelId", _value("KernelId")),
    "ramdisk": ("RamdiskId", _empty),
    "rootDeviceName": ("RootDeviceName", _value("RootDeviceName")),
    "disableApiTermination": ("DisableApiTermination", _value("DisableApiTermination")),
    "disableApiStop": ("DisableApiStop", _always(False)),
    "instanceInitiatedShutdownBehavior": (
        "InstanceInitiatedShutdownBehavior",
        lambda instance: {"Value": instance.shutdown_behavior},
    ),
    "ebsOptimized": ("EbsOptimized", _always(False)),
    "enaSupport": ("EnaSupport", lambda instance: {"Value": bool(instance.record.get("EnaSupport"))}),
    "sriovNetSupport": ("SriovNetSupport", _empty),
}


def describe_instance_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    instance = find_instance(region.state, str(wanted["InstanceId"]))
    attribute = str(wanted["Attribute"])
    lists: Mapping[str, dict[str, Any]] = {
        "blockDeviceMapping": {"BlockDeviceMappings": described_volumes(instance.record)},
        "productCodes": {"ProductCodes": []},
        "groupSet": {"Groups": described_groups(instance.groups)},
    }
    if attribute in lists:
        return {"InstanceId": instance.id, **lists[attribute]}
    if attribute not in ATTRIBUTES:
        raise request.invalid(attribute, "attribute")
    member, value = ATTRIBUTES[attribute]
    return {"InstanceId": instance.id, member: value(instance)}


def modify_instance_attribute(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute a call: the protection from being terminated, or the security groups."""
    asked = {
        name: value for name, value in wanted.items() if name not in ("InstanceId", "DryRun") and value is not None
    }
    if asked.get("Attribute") == "disableApiTermination" and "Value" in asked:
        asked = {"DisableApiTermination": {"Value": str(asked["Value"]).lower() == "true"}}
    if len(asked) != 1:
        raise ServiceError("InvalidParameterCombination", "Specify exactly one attribute to modify.")
    (name, value), *_ = asked.items()
    with region.state.transaction() as database:
        instance = find_instance(region.state, str(wanted["InstanceId"]))
        if not instance.live:
            raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is not running.")
        if name == "DisableApiTermination":
            _write(database, instance, DisableApiTermination=bool(value.get("Value")))
        elif name == "Groups":
            groups = find_groups(database, (), value)
            database.execute("DELETE FROM instance_groups WHERE instance = ?", (instance.id,))
            database.executemany("INSERT INTO instance_groups VALUES (?, ?)", [(instance.id, each) for each in groups])
        elif name == "InstanceInitiatedShutdownBehavior":
            chosen = request.check_shutdown(value.get("Value"), volumes=instance.keeps_volumes)
            _write(database, instance, ShutdownBehavior=chosen)
        elif name in ("UserData", "InstanceType", "Kernel", "Ramdisk"):
            raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
        else:
            raise ServiceError("UnsupportedOperation", f"The local region does not change {name} of an instance")
    region.machines.regroup()
    return {}


def modify_instance_metadata_options(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Holds from the guest's next request on."""
    asked = {
        name: value for name, value in wanted.items() if name not in ("InstanceId", "DryRun") and value is not None
    }
    with region.state.transaction() as database:
        instance = find_instance(region.state, str(wanted["InstanceId"]))
        if not instance.live:
            raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is not running.")
        options = request.metadata_options(asked, instance.record["MetadataOptions"])
        _write(database, instance, MetadataOptions=options)
    return {"InstanceId": instance.id, "InstanceMetadataOptions": {"State": "pending", **options}}


def _write(database: Any, instance: Instance, **changes: Any) -> None:
    record = json.dumps({**instance.record, **changes})
    database.execute("UPDATE instances SET record = ? WHERE id = ?", (record, instance.id))
