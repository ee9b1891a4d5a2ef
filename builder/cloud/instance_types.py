"""Instance types that a region offers, and what EC2 says of each there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.cloud.ec2_calls import listed
from builder.cloud.errors import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What decides whether an AMI starts on a type; a fact that EC2 does not tell is empty."""

    name: str
    architectures: tuple[str, ...]
    virtualization: tuple[str, ...]
    """paravirtual, hvm or both."""
    root_devices: tuple[str, ...]
    """instance-store, ebs or both."""
    boot_modes: tuple[str, ...]
    ena: str
    """unsupported, supported or required."""
    tpm: str
    """unsupported or supported."""


def offered(client: Client, names: Sequence[str]) -> tuple[Offered, ...]:
    """Those of the types that the region offers, sorted by name. A filter: who is not there is left out."""
    asked = {"Filters": [{"Name": "instance-type", "Values": sorted(set(names))}]}
    found = listed(client, "describe_instance_types", "InstanceTypes", asked, "the instance types of the region")
    return tuple(sorted((_offered(each) for each in found), key=lambda each: each.name))


def _offered(each: Mapping[str, Any]) -> Offered:
    return Offered(
        name=str(each["InstanceType"]),
        architectures=tuple(each.get("ProcessorInfo", {}).get("SupportedArchitectures", ())),
        virtualization=tuple(each.get("SupportedVirtualizationTypes", ())),
        root_devices=tuple(each.get("SupportedRootDeviceTypes", ())),
        boot_modes=tuple(each.get("SupportedBootModes", ())),
        ena=str(each.get("NetworkInfo", {}).get("EnaSupport", "")),
        tpm=str(each.get("NitroTpmSupport", "")),
    )
