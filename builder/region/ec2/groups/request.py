"""The rules that a call names: IpPermissions, or the flat parameters of EC2's first days."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from builder.region.ec2.groups.record import ALL, FULL, Grant
from builder.region.errors import ServiceError

FLAT = ("IpProtocol", "FromPort", "ToPort", "CidrIp", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId")
_NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp"}
_CIDR = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}")
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")

FindGroup = Callable[[Mapping[str, Any]], str]
"""The id of the group that a UserIdGroupPair names."""


def grants(wanted: Mapping[str, Any], find_group: FindGroup) -> dict[Grant, str | None]:
    """What is to be let in, each with its description."""
    permissions = wanted.get("IpPermissions") or ()
    flat = [name for name in FLAT if wanted.get(name) is not None]
    if permissions and flat:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The parameter 'ipPermissions' may not be used in combination with '{flat[0][0].lower()}{flat[0][1:]}'",
        )
    if not permissions and not flat:
        raise ServiceError("MissingParameter", "The request must contain the parameter ipPermissions")
    found: dict[Grant, str | None] = {}
    for permission in permissions or _flat(wanted):
        for grant, description in _of_permission(permission, find_group):
            if grant in found:
                raise _invalid("The same permission must not appear multiple times")
            found[grant] = description
    return found


def _flat(wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """As IpPermissions. A group without more stands for all of TCP, UDP and ICMP."""
    source = wanted.get("SourceSecurityGroupName")
    if wanted.get("SourceSecurityGroupOwnerId") and not source:
        raise ServiceError("MissingParameter", "The request must contain the parameter sourceSecurityGroupName")
    if source and (other := [name for name in FLAT[:4] if wanted.get(name) is not None]):
        raise ServiceError(
            "InvalidParameterCombination",
            f"The parameter 'sourceSecurityGroupName' may not be used in combination with '{other[0]}'",
        )
    if source:
        pair = {"GroupName": source, "UserId": wanted.get("SourceSecurityGroupOwnerId")}
        for protocol, first, last in FULL:
            yield {"IpProtocol": protocol, "FromPort": first, "ToPort": last, "UserIdGroupPairs": [pair]}
        return
    if not wanted.get("CidrIp"):
        raise ServiceError("MissingParameter", "The request must contain the parameter cidrIp")
    own = {name: wanted[name] for name in FLAT[:3] if wanted.get(name) is not None}
    yield {**own, "IpRanges": [{"CidrIp": wanted["CidrIp"]}]}


def _of_permission(permission: Mapping[str, Any], find_group: FindGroup) -> Iterator[tuple[Grant, str | None]]:
    protocol = _protocol(permission.get("IpProtocol"))
    first, last = _ports(protocol, permission.get("FromPort"), permission.get("ToPort"))
    ranges, pairs = permission.get("IpRanges") or (), permission.get("UserIdGroupPairs") or ()
    if permission.get("Ipv6Ranges") or permission.get("PrefixListIds"):
        raise _invalid("The local region's network has no IPv6 and no prefix lists: name IPv4 ranges, or groups")
    if not ranges and not pairs:
        raise ServiceError("MissingParameter", "A rule has a source: the request must contain ipRanges or groups")
    for each in ranges:
        cidr = _cidr(str(each.get("CidrIp", "")))
        yield Grant(protocol=protocol, first=first, last=last, cidr=cidr), _description(each)
    for each in pairs:
        if each.get("VpcId") or each.get("VpcPeeringConnectionId"):
            raise _invalid("The local region has no VPCs: name groups of its own")
        if not each.get("GroupId") and not each.get("GroupName"):
            raise ServiceError("MissingParameter", "The request must contain the parameter groupName or groupId")
        yield Grant(protocol=protocol, first=first, last=last, source=find_group(each)), _description(each)


def _protocol(word: object) -> str:
    if word is None:
        raise ServiceError("MissingParameter", "The request must contain the parameter ipProtocol")
    name = _NUMBERS.get(str(word), str(word).lower())
    if name in ("tcp", "udp", "icmp", ALL):
        return name
    if name.isdecimal() and int(name[:4]) < 256:
        raise ServiceError(
            "InvalidPermission.Malformed", f'Unsupported IP protocol "{word}"  - supported: [tcp, udp, icmp]'
        )
    raise _invalid(f"Invalid value '{word}' for IP protocol. Unknown protocol.")


def _ports(protocol: str, first: int | None, last: int | None) -> tuple[int, int]:
    if protocol == ALL:
        return -1, -1
    if first is None or last is None:
        pair = "type and code with ICMP" if protocol == "icmp" else "from and to ports with TCP/UDP"
        raise _invalid(f"Invalid value for portRange. Must specify both {pair}.")
    if protocol == "icmp":
        return _icmp(first, last)
    for each in (first, last):
        if not 0 <= each <= 65535:
            raise _invalid(f"TCP/UDP port ({each}) out of range")
    if first > last:
        raise _invalid(f"Invalid {protocol.upper()} port range ({first}, {last}): the first port is the larger one")
    return first, last


def _icmp(kind: int, code: int) -> tuple[int, int]:
    for what, each in (("type", kind), ("code", code)):
        if not -1 <= each <= 255:
            raise _invalid(f"ICMP {what} ({each}) out of range")
    if kind == -1 and code != -1:
        raise _invalid(f"ICMP code ({code}) can not be specified for all types (-1)")
    return kind, code


def _cidr(text: str) -> str:
    """In its canonical form, as EC2 keeps it: 100.68.0.18/18 is 100.68.0.0/18."""
    try:
        if _CIDR.fullmatch(text) is None:
            raise ValueError
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError as error:
        raise _invalid(f"CIDR block {text} is malformed") from error


def _description(source: Mapping[str, Any]) -> str | None:
    text = source.get("Description")
    if text is not None and _DESCRIPTION.fullmatch(text) is None:
        raise _invalid(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: "
            " a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )
    return text or None


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)
