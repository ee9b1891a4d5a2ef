"""DescribeInstances and DescribeInstanceStatus."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.instances.record import (
    Instance,
    all_instances,
    described_reservations,
    described_state,
    find_instances,
)
from builder.region.ec2.pages import page
from builder.region.ec2.places import ZONES
from builder.region.ec2.region import Reach, Region
from builder.region.errors import ServiceError

Values = Callable[[Instance], Iterable[str]]


def _one(value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    return (str(value).lower() if isinstance(value, bool) else str(value),)


def _shown(*path: str) -> Values:
    """A member of the answer."""

    def values(instance: Instance) -> Iterable[str]:
        found: Any = instance.described()
        for name in path:
            found = found.get(name) if found is not None else None
        return _one(found)

    return values


def _nothing(instance: Instance) -> Iterable[str]:
    """No instance here has what this filter is about, so that it lets none through."""
    del instance
    return ()


_GROUP_IDS: Values = lambda instance: [identifier for identifier, _ in instance.groups]  # noqa: E731
_GROUP_NAMES: Values = lambda instance: [name for _, name in instance.groups]  # noqa: E731
# All that the API reference lists for DescribeInstances.
FILTERS: Mapping[str, Values] = {
    "architecture": _shown("Architecture"),
    "availability-zone": _shown("Placement", "AvailabilityZone"),
    "availability-zone-id": lambda instance: [dict(ZONES)[instance.record["AvailabilityZone"]]],
    "block-device-mapping.delete-on-termination": lambda instance: ["true"] if instance.keeps_volumes else [],
    "block-device-mapping.device-name": lambda instance: [
        each["DeviceName"] for each in instance.record.get("Volumes", ())
    ],
    "block-device-mapping.status": lambda instance: ["attached"] if instance.keeps_volumes else [],
    "block-device-mapping.volume-id": lambda instance: [
        each["VolumeId"] for each in instance.record.get("Volumes", ())
    ],
    "boot-mode": _shown("BootMode"),
    "client-token": _shown("ClientToken"),
    "current-instance-boot-mode": _shown("CurrentInstanceBootMode"),
    "dns-name": _shown("PublicDnsName"),
    "enclave-options.enabled": lambda instance: ["false"],
    "group-id": _GROUP_IDS,
    "group-name": _GROUP_NAMES,
    "hibernation-options.configured": lambda instance: ["false"],
    "hypervisor": _shown("Hypervisor"),
    "image-id": _shown("ImageId"),
    "instance-id": _shown("InstanceId"),
    "instance-state-code": _shown("State", "Code"),
    "instance-state-name": _shown("State", "Name"),
    "instance-type": _shown("InstanceType"),
    "instance.group-id": _GROUP_IDS,
    "instance.group-name": _GROUP_NAMES,
    "ip-address": _shown("PublicIpAddress"),
    "kernel-id": _shown("KernelId"),
    "key-name": _shown("KeyName"),
    "launch-index": _shown("AmiLaunchIndex"),
    "launch-time": _shown("LaunchTime"),
    "metadata-options.http-endpoint": _shown("MetadataOptions", "HttpEndpoint"),
    "metadata-options.http-protocol-ipv4": _shown("MetadataOptions", "HttpEndpoint"),
    "metadata-options.http-protocol-ipv6": _shown("MetadataOptions", "HttpProtocolIpv6"),
    "metadata-options.http-put-response-hop-limit": _shown("MetadataOptions", "HttpPutResponseHopLimit"),
    "metadata-options.http-tokens": _shown("MetadataOptions", "HttpTokens"),
    "metadata-options.instance-metadata-tags": _shown("MetadataOptions", "InstanceMetadataTags"),
    "monitoring-state": _shown("Monitoring", "State"),
    "platform-details": _shown("PlatformDetails"),
    "private-dns-name": _shown("PrivateDnsName"),
    "private-ip-address": _shown("PrivateIpAddress"),
    "ramdisk-id": _shown("RamdiskId"),
    "reason": _shown("StateTransitionReason"),
    "reservation-id": lambda instance: [instance.reservation],
    "root-device-name": _shown("RootDeviceName"),
    "root-device-type": _shown("RootDeviceType"),
    "state-reason-code": _shown("StateReason", "Code"),
    "state-reason-message": _shown("StateReason", "Message"),
    "tag-key": lambda instance: instance.tags,
    "tenancy": _shown("Placement", "Tenancy"),
    "usage-operation": _shown("UsageOperation"),
    "virtualization-type": _shown("VirtualizationType"),
    **dict.fromkeys(
        (
            "affinity",
            "block-device-mapping.attach-time",
            "capacity-reservation-id",
            "host-id",
            "iam-instance-profile.arn",
            "iam-instance-profile.id",
            "instance-lifecycle",
            "network-interface.addresses.association.public-ip",
            "network-interface.addresses.private-ip-address",
            "network-interface.group-id",
            "network-interface.network-interface-id",
            "network-interface.subnet-id",
            "network-interface.vpc-id",
            "outpost-arn",
            "placement-group-name",
            "placement-partition-number",
            "platform",
            "product-code",
            "product-code.type",
            "requester-id",
            "source-dest-check",
            "spot-instance-request-id",
            "subnet-id",
            "vpc-id",
        ),
        _nothing,
    ),
}


def describe_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    owner: Mapping[str, Values] = {"owner-id": lambda instance: [region.account]}
    found = matching(
        _selected(region, wanted), wanted.get("Filters") or (), {**FILTERS, **owner}, lambda each: each.tags
    )
    shown, token = page(found, wanted, lambda each: each.id, least=5, most=1000)
    return {"Reservations": described_reservations(region, shown), **token}


def _selected(region: Region, wanted: Mapping[str, Any]) -> list[Instance]:
    ids: Sequence[str] = wanted.get("InstanceIds") or ()
    if ids and wanted.get("MaxResults") is not None:
        raise ServiceError(
            "InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults"
        )
    return find_instances(region.state, ids) if ids else all_instances(region.state)


def describe_instance_status(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of those that run, unless all are asked for."""
    found = [each for each in _selected(region, wanted) if wanted.get("IncludeAllInstances") or each.state == "running"]
    reaches = {each.id: region.machines.reach(each.id) for each in found}
    values: Mapping[str, Values] = {
        "availability-zone": FILTERS["availability-zone"],
        "instance-state-code": FILTERS["instance-state-code"],
        "instance-state-name": FILTERS["instance-state-name"],
        "instance-status.status": lambda each: [_status(each, reaches[each.id])["Status"]],
        "instance-status.reachability": lambda each: [_detail(reaches[each.id])],
        "system-status.status": lambda each: ["ok" if each.state == "running" else "not-applicable"],
        "system-status.reachability": lambda each: ["passed"],
        "event.code": _nothing,
        "event.description": _nothing,
    }
    shown, token = page(
        matching(found, wanted.get("Filters") or (), values), wanted, lambda each: each.id, least=5, most=1000
    )
    return {"InstanceStatuses": [_described_status(each, reaches[each.id]) for each in shown], **token}


def _described_status(instance: Instance, reach: Reach) -> dict[str, Any]:
    passed = {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}
    return {
        "InstanceId": instance.id,
        "AvailabilityZone": instance.record["AvailabilityZone"],
        "AvailabilityZoneId": dict(ZONES)[instance.record["AvailabilityZone"]],
        "InstanceState": described_state(instance.state),
        "SystemStatus": passed if instance.state == "running" else {"Status": "not-applicable"},
        "InstanceStatus": _status(instance, reach),
    }


def _status(instance: Instance, reach: Reach) -> dict[str, Any]:
    if instance.state != "running":
        return {"Status": "not-applicable"}
    since = {"ImpairedSince": reach.since} if reach.status == "impaired" else {}
    return {
        "Status": reach.status,
        "Details": [{"Name": "reachability", "Status": _detail(reach), **since}],
    }


def _detail(reach: Reach) -> str:
    return {"ok": "passed", "impaired": "failed"}.get(reach.status, reach.status)
