"""Rules as calls name them: what is granted, or EC2's refusal; nothing else."""

import ipaddress
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.machine.network import Permission, Wire, format_ruleset
from builder.region.ec2.groups.record import Grant
from builder.region.ec2.groups.request import grants
from builder.region.errors import ServiceError

NUMBERS = st.none() | st.integers(-2, 70000)
WORDS = st.sampled_from(["tcp", "UDP", "icmp", "-1", "6", "17", "1", "50", "ip", "", "²"])
CIDRS = st.text("0123456789./ :;{}", max_size=20) | st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(-1, 33))


def find(pair: Mapping[str, Any]) -> str:
    return f"sg-{pair.get('GroupName') or pair['GroupId']}"


def test_the_ways_to_say_one_rule() -> None:
    expected = {Grant(protocol="tcp", first=22, last=22, cidr="0.0.0.0/0"): None}
    ports = {"FromPort": 22, "ToPort": 22}
    for wanted in (
        {"IpProtocol": "tcp", **ports, "CidrIp": "0.0.0.0/0"},
        {"IpProtocol": "6", **ports, "CidrIp": "1.2.3.4/0"},
        {"IpPermissions": [{"IpProtocol": "TCP", **ports, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]},
    ):
        assert grants(wanted, find) == expected


def test_a_group_alone_is_all_of_its_traffic() -> None:
    assert list(grants({"SourceSecurityGroupName": "web"}, find)) == [
        Grant(protocol="tcp", first=0, last=65535, source="sg-web"),
        Grant(protocol="udp", first=0, last=65535, source="sg-web"),
        Grant(protocol="icmp", first=-1, last=-1, source="sg-web"),
    ]


@given(protocol=WORDS, first=NUMBERS, last=NUMBERS, cidr=CIDRS)
def test_what_is_granted_can_be_said_to_the_filter(
    protocol: str, first: int | None, last: int | None, cidr: str
) -> None:
    wanted = {"IpProtocol": protocol, "FromPort": first, "ToPort": last, "CidrIp": cidr}
    try:
        (grant,) = grants({name: value for name, value in wanted.items() if value is not None}, find)
    except ServiceError as error:
        assert error.code in ("InvalidParameterValue", "InvalidPermission.Malformed", "MissingParameter")
        return
    assert str(ipaddress.IPv4Network(grant.cidr)) == grant.cidr
    permission = Permission(
        protocol="all" if grant.protocol == "-1" else grant.protocol,
        first=grant.first,
        last=grant.last,
        cidrs=(grant.cidr or "",),
    )
    ruleset = format_ruleset([Wire(slot=1, address="10.240.0.2", permissions=(permission,))])
    assert f"ip saddr {grant.cidr} " in ruleset


@pytest.mark.parametrize("description", ["", "x" * 255, "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"])
def test_descriptions(description: str) -> None:
    ranges = [{"CidrIp": "10.0.0.0/8", "Description": description}]
    found = grants({"IpPermissions": [{"IpProtocol": "-1", "IpRanges": ranges}]}, find)
    assert found == {Grant(protocol="-1", first=-1, last=-1, cidr="10.0.0.0/8"): description or None}
