"""Instances as one who wants to reach them sees them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.cloud.ec2_calls import Answer, listed
from builder.cloud.errors import Client

_SSH_TAG = "ami-factory:port:22"
"""The local region's word for where SSH is, when its port could not be had at the instance's own address."""
_PLACE = re.compile(r"([0-9.]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Where an instance is, and who may be let in."""

    id: str
    state: str
    reason: str
    """Why it is in that state, when EC2 says so."""
    address: str
    """Its public name or address; empty when it has none, or none yet."""
    port: int
    """Of SSH."""
    key_pair: str
    groups: tuple[str, ...]
    """Names of its security groups."""


def find_instances(client: Client, identifiers: Sequence[str] = ()) -> tuple[Instance, ...]:
    """Those of these ids, or all that the region tells of. RegionError for an id that there is not."""
    request = {"InstanceIds": list(identifiers)} if identifiers else {}
    about = ", ".join(identifiers) or "the instances"
    found = listed(client, "describe_instances", "Reservations", request, about)
    return tuple(instance_of(each) for reservation in found for each in reservation["Instances"])


def instance_of(described: Answer) -> Instance:
    address, port = described.get("PublicDnsName") or described.get("PublicIpAddress") or "", 22
    tags = {each["Key"]: each["Value"] for each in described.get("Tags", ())}
    moved = _PLACE.fullmatch(tags.get(_SSH_TAG, ""))
    if moved is not None:
        address, port = moved[1], int(moved[2])
    return Instance(
        id=described["InstanceId"],
        state=described["State"]["Name"],
        reason=described.get("StateReason", {}).get("Message", ""),
        address=address,
        port=port,
        key_pair=described.get("KeyName", ""),
        groups=tuple(each["GroupName"] for each in described.get("SecurityGroups", ())),
    )
