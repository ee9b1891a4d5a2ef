"""The metadata service's connections, each answered with what its instance is told of itself."""

import hashlib
import socket

from builder.machine.metadata import Metadata, serve
from builder.region.ec2.instances.record import Instance, find_instance
from builder.region.errors import ServiceError
from builder.region.state import State


def answer(state: State, instance: str, connection: socket.socket) -> None:
    """Answer one connection of an instance's, from its record as it is now."""
    try:
        found = find_instance(state, instance)
    except ServiceError:  # forgotten meanwhile
        return
    if found.record["MetadataOptions"]["HttpEndpoint"] == "enabled":
        serve(connection, metadata(found), lambda line: None)


def metadata(instance: Instance) -> Metadata:
    record = instance.record
    values = {
        "ami-id": instance.image,
        "ami-launch-index": str(instance.position),
        "ami-manifest-path": record["ImageLocation"],
        "instance-id": instance.id,
        "instance-type": record["InstanceType"],
        "local-ipv4": instance.private_address,
        "local-hostname": instance.private_name,
        "hostname": instance.private_name,
        "public-ipv4": instance.public_address,
        "public-hostname": instance.public_name,
        "mac": instance.mac,
        "placement/availability-zone": record["AvailabilityZone"],
        "reservation-id": instance.reservation,
        "security-groups": "\n".join(name for _, name in instance.groups),
        "block-device-mapping/ami": record["RootDeviceName"].removeprefix("/dev/"),
        "block-device-mapping/root": record["RootDeviceName"],
        **{f"block-device-mapping/{virtual}": device for virtual, device, _, _ in record["Disks"]},
        **({"kernel-id": record["KernelId"]} if "KernelId" in record else {}),
        **({"public-keys/0/openssh-key": record["PublicKey"]} if "PublicKey" in record else {}),
    }
    leaves = {f"meta-data/{path}": value.encode() for path, value in values.items()}
    return Metadata(
        values=leaves | ({"user-data": instance.user_data} if instance.user_data else {}),
        token_required=record["MetadataOptions"]["HttpTokens"] == "required",
        secret=hashlib.sha256(instance.id.encode()).digest(),
    )
