"""The tables of the EC2 API tools: answers of the API as lines of tab-separated columns. Pure.

Columns and their order are those of recorded output of ec2-api-tools 1.6 and of the tools' man pages. The first
word of a line says what it is about. A column that has no value is empty, and stays.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Answer = Mapping[str, Any]
"""A piece of an answer, by the names of the EC2 API; times are datetimes, or text as it came."""
Line = tuple[str, ...]
"""The columns of a line."""


def text(lines: Iterable[Line], *, empty: str = "", tags: bool = True) -> str:
    """The lines as they are printed: what has no value as `empty`, without the lines about tags unless `tags`."""
    return "\n".join("\t".join(column or empty for column in line) for line in lines if tags or line[0] != "TAG")


# Images.


def image(found: Answer) -> Iterator[Line]:
    """IMAGE, its BLOCKDEVICEMAPPINGs, its TAGs."""
    yield _line(
        "IMAGE",
        found["ImageId"],
        found.get("ImageLocation"),
        found.get("ImageOwnerAlias") or found.get("OwnerId"),
        found.get("State"),
        "public" if found.get("Public") else "private",
        _product_codes(found),
        found.get("Architecture"),
        found.get("ImageType"),
        found.get("KernelId"),
        found.get("RamdiskId"),
        found.get("Platform"),
        found.get("RootDeviceType"),
        found.get("VirtualizationType"),
        found.get("Hypervisor"),
    )
    for each in found.get("BlockDeviceMappings", ()):
        if (line := _mapping(each)) is not None:
            yield line
    yield from tags("image", found["ImageId"], found)


def _mapping(found: Answer) -> Line | None:
    """A device of an image; None for one that is only said not to be there."""
    if "Ebs" in found:
        volume = found["Ebs"]
        return _line(
            "BLOCKDEVICEMAPPING",
            "EBS",
            found.get("DeviceName"),
            None,
            volume.get("SnapshotId"),
            volume.get("VolumeSize"),
            volume.get("DeleteOnTermination"),
            volume.get("VolumeType"),
            volume.get("Iops"),
        )
    if "VirtualName" in found:
        return _line("BLOCKDEVICEMAPPING", "EPHEMERAL", found.get("DeviceName"), found["VirtualName"])
    return None


# Instances.


def reservation(found: Answer) -> Iterator[Line]:
    """RESERVATION, and its instances. Groups stand at the reservation only in EC2-Classic; else its instances tell."""
    instances: Sequence[Answer] = found.get("Instances", ())
    groups = found.get("Groups") or [group for each in instances[:1] for group in each.get("SecurityGroups", ())]
    names = ",".join(each.get("GroupName") or each["GroupId"] for each in groups)
    yield _line("RESERVATION", found["ReservationId"], found.get("OwnerId"), names)
    for each in instances:
        yield from instance(each)


def instance(found: Answer) -> Iterator[Line]:
    """INSTANCE, its BLOCKDEVICEs (volumes: an instance-store disk is none), its TAGs."""
    placement = found.get("Placement", {})
    yield _line(
        "INSTANCE",
        found["InstanceId"],
        found.get("ImageId"),
        found.get("PublicDnsName"),
        found.get("PrivateDnsName"),
        found.get("State", {}).get("Name"),
        found.get("KeyName"),
        found.get("AmiLaunchIndex"),
        _product_codes(found),
        found.get("InstanceType"),
        time(found.get("LaunchTime")),
        placement.get("AvailabilityZone"),
        found.get("KernelId"),
        found.get("RamdiskId"),
        found.get("Platform"),
        f"monitoring-{found['Monitoring']['State']}" if "Monitoring" in found else None,
        found.get("PublicIpAddress"),
        found.get("PrivateIpAddress"),
        found.get("VpcId"),
        found.get("SubnetId"),
        found.get("RootDeviceType"),
        found.get("InstanceLifecycle"),
        found.get("SpotInstanceRequestId"),
        None,  # the licence of a Windows of one's own, long gone from the API
        placement.get("GroupName"),
        found.get("VirtualizationType"),
        found.get("Hypervisor"),
        found.get("ClientToken"),
        ",".join(each["GroupId"] for each in found.get("SecurityGroups", ())),
        placement.get("Tenancy"),
        found.get("EbsOptimized"),
        found.get("IamInstanceProfile", {}).get("Arn"),
    )
    for each in found.get("BlockDeviceMappings", ()):
        volume = each.get("Ebs", {})
        yield _line(
            "BLOCKDEVICE",
            each.get("DeviceName"),
            volume.get("VolumeId"),
            time(volume.get("AttachTime"), milliseconds=True),
            volume.get("DeleteOnTermination"),
        )
    yield from tags("instance", found["InstanceId"], found)


def change(found: Answer) -> Line:
    """An instance that was told to end: its state before, and now."""
    return _line("INSTANCE", found["InstanceId"], found["PreviousState"]["Name"], found["CurrentState"]["Name"])


def console(found: Answer, *, raw: bool) -> str:
    """Id, time and console of an instance; control characters are written as ^[ unless it is to be `raw`."""
    written = str(found.get("Output") or "")
    return "\n".join((found["InstanceId"], time(found.get("Timestamp")), written if raw else escaped(written)))


def escaped(written: str) -> str:
    """A console's text that does nothing to a terminal: of control characters only line feeds and tabs are left.

    Carriage returns before a line feed are those of the serial line, and mean nothing.
    """
    plain = re.sub(r"\r+\n", "\n", written)
    return "".join(f"^{chr(ord(each) ^ 0x40)}" if _is_control(each) else each for each in plain)


def _is_control(character: str) -> bool:
    return (ord(character) < 0x20 and character not in "\n\t") or character == "\x7f"


# Keys and groups.


def key_pair(found: Answer) -> Line:
    return _line("KEYPAIR", found["KeyName"], found.get("KeyFingerprint"))


def group(found: Answer) -> Iterator[Line]:
    """GROUP, its PERMISSIONs, its TAGs."""
    owner, name = found.get("OwnerId"), found.get("GroupName")
    yield _line("GROUP", found.get("GroupId"), owner, name, found.get("Description"), found.get("VpcId"))
    for each in found.get("IpPermissions", ()):
        yield from permission(each, owner=owner, name=name)
    for each in found.get("IpPermissionsEgress", ()):
        yield from permission(each, owner=owner, name=name, egress=True)
    yield from tags("security-group", str(found.get("GroupId", "")), found)


def changed_group(group: str, permissions: Iterable[Answer], *, egress: bool = False) -> Iterator[Line]:
    """What ec2-authorize and ec2-revoke print: the group as it was named, and what was asked for."""
    yield _line("GROUP", None, None, group, None, None)
    for each in permissions:
        yield from permission(each, owner=None, name=group, egress=egress)


def permission(found: Answer, *, owner: str | None, name: str | None, egress: bool = False) -> Iterator[Line]:
    """A line for each source (or destination) of a permission."""
    protocol = "all" if found["IpProtocol"] == "-1" else found["IpProtocol"]
    head = _line("PERMISSION", owner, name, "ALLOWS", protocol, found.get("FromPort"), found.get("ToPort"))
    side, way = ("TO", "egress") if egress else ("FROM", "ingress")
    for each in found.get("UserIdGroupPairs", ()):
        known = [f"NAME {each['GroupName']}"] if each.get("GroupName") else []
        known += [f"ID {each['GroupId']}"] if each.get("GroupId") else []
        yield (*head, side, "USER", each.get("UserId", ""), *known, way)
    for cidr in (*_cidrs(found, "IpRanges", "CidrIp"), *_cidrs(found, "Ipv6Ranges", "CidrIpv6")):
        yield (*head, side, "CIDR", cidr, way)


def _cidrs(found: Answer, ranges: str, member: str) -> list[str]:
    return [each[member] for each in found.get(ranges, ())]


# What several have.


def tags(kind: str, identifier: str, found: Answer) -> Iterator[Line]:
    for each in found.get("Tags", ()):
        yield _line("TAG", kind, identifier, each["Key"], each["Value"])


def time(value: datetime | str | None, *, milliseconds: bool = False) -> str:
    """A time as the tools print it: 2012-09-26T02:06:49+0000, and of a volume 2012-09-24T20:47:17.000Z."""
    if value is None:
        return ""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    there = moment.astimezone(UTC)
    return there.strftime("%Y-%m-%dT%H:%M:%S.000Z" if milliseconds else "%Y-%m-%dT%H:%M:%S+0000")


def _product_codes(found: Answer) -> str:
    return ",".join(each["ProductCodeId"] for each in found.get("ProductCodes", ()))


def _line(*columns: Any) -> Line:
    return tuple(_column(each) for each in columns)


def _column(value: Any) -> str:
    """A value as text. What is no single line (a description can have tabs) must not make another column."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\t", " ").replace("\n", " ").replace("\r", " ")
