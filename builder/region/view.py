"""The metadata service's connections, each answered with what its instance is told of itself.

The paths are those of EC2 User Guide, "Instance metadata categories", as far as an instance of EC2-Classic had them.
There are no credentials, and no signature under the identity document: AWS alone could make it. HttpPutResponseHopLimit
is remembered and described, but not enforced: the answer to a PUT leaves QEMU's network like any other.
"""

import hashlib
import hmac
import json
import re
import secrets
import socket
from collections.abc import Mapping

from builder.machine.metadata import Metadata, serve
from builder.region.ec2.instances.record import Instance, find_instance
from builder.region.ec2.places import ZONES
from builder.region.ec2.region import NAME
from builder.region.errors import ServiceError
from builder.region.state import State

# Tokens are good as long as this process: so are instances.
_SECRET = secrets.token_bytes(32)
# EC2 takes no other tags when they are to be read here (EC2 User Guide, "View tags ... using instance metadata").
_TAG = re.compile(r"(?!(?:\.|\.\.|_index)$)[A-Za-z0-9+\-=.,_:@]+")


def answer(state: State, account: str, instance: str, connection: socket.socket) -> None:
    """Answer one connection of an instance's, from its record as it is now."""
    try:
        found = find_instance(state, instance)
    except ServiceError:  # forgotten meanwhile
        return
    serve(connection, metadata(found, account), lambda line: None)


def metadata(instance: Instance, account: str) -> Metadata:
    values = {
        **_own(instance),
        **_network(instance, account),
        **_disks(instance),
        **_tags(instance),
    }
    leaves = {f"meta-data/{path}": value.encode() for path, value in values.items()}
    leaves["dynamic/instance-identity/document"] = _document(instance, account)
    if instance.user_data:
        leaves["user-data"] = instance.user_data
    options = instance.record["MetadataOptions"]
    return Metadata(
        values=leaves,
        token_required=options["HttpTokens"] == "required",
        on=options["HttpEndpoint"] == "enabled",
        secret=hmac.new(_SECRET, instance.id.encode(), hashlib.sha256).digest(),
    )


def _own(instance: Instance) -> dict[str, str]:
    record = instance.record
    zone = record["AvailabilityZone"]
    optional = {
        "kernel-id": record.get("KernelId"),
        "ramdisk-id": record.get("RamdiskId"),
        "public-keys/0/openssh-key": record.get("PublicKey"),
    }
    return {
        "ami-id": instance.image,
        "ami-launch-index": str(instance.position),
        "ami-manifest-path": "(unknown)" if instance.keeps_volumes else record["ImageLocation"],
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "on-demand",
        "instance-type": record["InstanceType"],
        "placement/availability-zone": zone,
        "placement/availability-zone-id": dict(ZONES)[zone],
        "placement/region": NAME,
        "profile": f"default-{record['VirtualizationType']}",
        "reservation-id": instance.reservation,
        "security-groups": "\n".join(name for _, name in instance.groups),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        **{path: value for path, value in optional.items() if value},
    }


def _network(instance: Instance, account: str) -> dict[str, str]:
    """Its addresses, which are its one interface's too. The public name is the public address, as it is everywhere in
    this region."""
    public, name = instance.public_address, instance.private_name
    interface = {
        "device-number": "0",
        "local-hostname": name,
        "local-ipv4s": instance.private_address,
        "mac": instance.mac,
        "owner-id": account,
        "public-hostname": public,
        "public-ipv4s": public,
    }
    return {
        "hostname": name,
        "local-hostname": name,
        "local-ipv4": instance.private_address,
        "mac": instance.mac,
        "public-hostname": public,
        "public-ipv4": public,
        **{f"network/interfaces/macs/{instance.mac}/{path}": value for path, value in interface.items()},
    }


def _disks(instance: Instance) -> dict[str, str]:
    root = instance.record["RootDeviceName"]
    mapping: Mapping[str, str] = {
        "ami": root.removeprefix("/dev/"),
        "root": root,
        **{virtual: device for virtual, device, _, _ in instance.record["Disks"] if device},
    }
    return {f"block-device-mapping/{name}": device for name, device in mapping.items()}


def _tags(instance: Instance) -> dict[str, str]:
    """Those that can be a path, where tags are to be read here."""
    if instance.record["MetadataOptions"]["InstanceMetadataTags"] != "enabled":
        return {}
    return {f"tags/instance/{key}": value for key, value in instance.tags.items() if _TAG.fullmatch(key)}


def _document(instance: Instance, account: str) -> bytes:
    """The instance identity document (EC2 User Guide, "Instance identity documents")."""
    record = instance.record
    return json.dumps(
        {
            "accountId": account,
            "architecture": record["Architecture"],
            "availabilityZone": record["AvailabilityZone"],
            "billingProducts": None,
            "devpayProductCodes": None,
            "imageId": instance.image,
            "instanceId": instance.id,
            "instanceType": record["InstanceType"],
            "kernelId": record.get("KernelId"),
            "marketplaceProductCodes": None,
            "pendingTime": instance.launched.replace(".000Z", "Z"),
            "privateIp": instance.private_address,
            "ramdiskId": record.get("RamdiskId"),
            "region": NAME,
            "version": "2017-09-30",
        },
        indent=2,
    ).encode()
