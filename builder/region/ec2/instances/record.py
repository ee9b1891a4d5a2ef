"""Instances as they are remembered, and as DescribeInstances shows them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from builder.region.ec2.instances import states
from builder.region.ec2.instances.addresses import private_name
from builder.region.ec2.region import Region, timestamp
from builder.region.ec2.tags import described_tags, tags_of
from builder.region.errors import ServiceError
from builder.region.state import Row, State

ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
PORT_TAG = "ami-factory:port:{}"
"""Where a port of the guest is listened on, when that is not the same port of its public address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance. `record` is what RunInstances decided, by names of our own."""

    id: str
    reservation: str
    position: int
    """In its reservation: the AMI launch index."""
    image: str
    key_pair: str | None
    state: str
    launched: str
    ended: str | None
    private_address: str
    public_address: str
    mac: str
    ports: Mapping[int, int]
    """Where ports of the guest are listened on, at its public address."""
    reason_code: str | None
    reason: str | None
    transition: str
    record: Mapping[str, Any]
    user_data: bytes | None
    groups: tuple[tuple[str, str], ...]
    """Ids and names of its security groups."""
    tags: Mapping[str, str]

    @property
    def live(self) -> bool:
        return self.state in ("pending", "running")

    @property
    def hvm(self) -> bool:
        return bool(self.record["VirtualizationType"] == "hvm")

    @property
    def keeps_volumes(self) -> bool:
        """Its root is an EBS volume: it can be stopped."""
        return bool(self.record.get("Volumes"))

    @property
    def shutdown_behavior(self) -> str:
        """What becomes of it when it powers off: stop or terminate."""
        return str(self.record.get("ShutdownBehavior", "stop" if self.keeps_volumes else "terminate"))

    @property
    def private_name(self) -> str:
        return private_name(self.private_address) if self.state != "terminated" else ""

    @property
    def public_name(self) -> str:
        """Its public address: a name that resolves wherever the region runs."""
        return self.public_address if self.state == "running" else ""

    def described(self) -> dict[str, Any]:
        """As DescribeInstances has it."""
        record = self.record
        return {
            **self._addressed(),
            **{name: record[name] for name in ("KernelId", "RamdiskId", "ClientToken", "ImdsSupport") if name in record}
            | ({"KeyName": self.key_pair} if self.key_pair else {}),
            **({"StateReason": {"Code": self.reason_code, "Message": self.reason}} if self.reason_code else {}),
            **({"Tags": described_tags(self.shown_tags)} if self.shown_tags else {}),
            "InstanceId": self.id,
            "ImageId": self.image,
            "State": described_state(self.state),
            "StateTransitionReason": self.transition,
            "AmiLaunchIndex": self.position,
            "InstanceType": record["InstanceType"],
            "LaunchTime": self.launched,
            "Placement": {"AvailabilityZone": record["AvailabilityZone"], "GroupName": "", "Tenancy": "default"},
            "Monitoring": {"State": "disabled"},
            "Architecture": record["Architecture"],
            "VirtualizationType": record["VirtualizationType"],
            "RootDeviceType": "ebs" if self.keeps_volumes else "instance-store",
            "RootDeviceName": record["RootDeviceName"],
            "BlockDeviceMappings": described_volumes(record),
            "Hypervisor": "xen",
            "EbsOptimized": False,
            "EnaSupport": bool(record.get("EnaSupport")),
            **{name: record[name] for name in ("BootMode", "CurrentInstanceBootMode") if record.get(name)},
            "ProductCodes": [],
            "SecurityGroups": described_groups(self.groups),
            "MetadataOptions": {"State": "applied", **record["MetadataOptions"]},
            "PlatformDetails": "Linux/UNIX",
            "UsageOperation": "RunInstances",
        }

    def _addressed(self) -> dict[str, Any]:
        """Empty names where there is none, as EC2 has them; an instance that is over has no addresses."""
        there = {"PrivateIpAddress": self.private_address} if self.state != "terminated" else {}
        public = {"PublicIpAddress": self.public_address} if self.public_name else {}
        return {"PrivateDnsName": self.private_name, "PublicDnsName": self.public_name, **there, **public}

    @property
    def shown_tags(self) -> dict[str, str]:
        """Its tags, and where its ports are when they could not be had."""
        moved = {
            PORT_TAG.format(guest): f"{self.public_address}:{port}"
            for guest, port in sorted(self.ports.items())
            if guest != port
        }
        return {**self.tags, **moved}


def described_volumes(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The block device mapping of an instance: its EBS volumes."""
    return [
        {
            "DeviceName": each["DeviceName"],
            "Ebs": {
                "AttachTime": each["AttachTime"],
                "DeleteOnTermination": True,
                "Status": "attached",
                "VolumeId": each["VolumeId"],
            },
        }
        for each in record.get("Volumes", ())
    ]


def described_state(state: str) -> dict[str, Any]:
    return {"Code": states.CODES[state], "Name": state}


def described_groups(groups: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"GroupId": identifier, "GroupName": name} for identifier, name in groups]


def described_reservations(region: Region, instances: Sequence[Instance]) -> list[dict[str, Any]]:
    """Instances under their reservations, in the order in which they come."""
    reservations: dict[str, list[Instance]] = {}
    for each in instances:
        reservations.setdefault(each.reservation, []).append(each)
    return [
        {
            "ReservationId": reservation,
            "OwnerId": region.account,
            "Groups": described_groups(dict.fromkeys(group for each in members for group in each.groups)),
            "Instances": [each.described() for each in members],
        }
        for reservation, members in reservations.items()
    ]


def all_instances(state: State) -> list[Instance]:
    """Every instance that is still described, in the order in which they were started."""
    groups: dict[str, list[tuple[str, str]]] = {}
    with state.transaction() as database:  # what is read belongs together
        _forget_old(database)
        rows = database.execute("SELECT * FROM instances ORDER BY launched, reservation, position").fetchall()
        memberships = database.execute(
            "SELECT instance, id, name FROM instance_groups JOIN security_groups ON id = security_group ORDER BY name"
        ).fetchall()
        tags = tags_of(database, "i")
    for row in memberships:
        groups.setdefault(row["instance"], []).append((row["id"], row["name"]))
    return [_instance(row, tuple(groups.get(row["id"], ())), tags.get(row["id"], {})) for row in rows]


def _forget_old(database: Any) -> None:
    oldest = timestamp(datetime.now(UTC) - timedelta(seconds=states.SHOWN_SECONDS))
    over = database.execute("SELECT id FROM instances WHERE ended < ?", (oldest,)).fetchall()
    for row in over:
        database.execute("DELETE FROM tags WHERE resource = ?", (row["id"],))
        database.execute("DELETE FROM instances WHERE id = ?", (row["id"],))
    if over:
        database.execute("DELETE FROM reservations WHERE id NOT IN (SELECT reservation FROM instances)")


def _instance(row: Row, groups: tuple[tuple[str, str], ...], tags: Mapping[str, str]) -> Instance:
    changed = {
        "ports": {int(guest): port for guest, port in json.loads(row["ports"]).items()},
        "record": json.loads(row["record"]),
    }
    return Instance(**{**row, **changed}, groups=groups, tags=tags)


def check_id(instance: str) -> None:
    if ID.fullmatch(instance) is None:
        raise ServiceError("InvalidInstanceID.Malformed", f'Invalid id: "{instance}"')


def find_instances(state: State, ids: Sequence[str]) -> list[Instance]:
    """Those of these ids, in their order. All that are missing are named, as EC2 does."""
    for each in ids:
        check_id(each)
    known = {each.id: each for each in all_instances(state)}
    missing = [each for each in dict.fromkeys(ids) if each not in known]
    if missing:
        words = ("ID", "does") if len(missing) == 1 else ("IDs", "do")
        raise ServiceError(
            "InvalidInstanceID.NotFound", f"The instance {words[0]} '{', '.join(missing)}' {words[1]} not exist"
        )
    return [known[each] for each in dict.fromkeys(ids)]


def find_instance(state: State, instance: str) -> Instance:
    return find_instances(state, (instance,))[0]
