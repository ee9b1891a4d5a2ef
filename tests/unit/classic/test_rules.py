"""What an ec2-authorize or ec2-revoke line asks for."""

from typing import Any

import pytest

from builder.classic.command import parse
from builder.classic.rules import AUTHORIZE, request
from builder.errors import RecipeError

ANYWHERE = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def asked(*words: str) -> dict[str, Any]:
    return request(parse(AUTHORIZE, words, {}))


@pytest.mark.parametrize(
    ("words", "permissions"),
    [
        pytest.param(["-p", "22"], [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ANYWHERE}], id="the article"),
        pytest.param(
            ["-P", "udp", "-p", "80-84", "-s", "205.192.0.0/16", "--source-subnet", "10.0.0.0/8"],
            [
                {
                    "IpProtocol": "udp",
                    "FromPort": 80,
                    "ToPort": 84,
                    "IpRanges": [{"CidrIp": "205.192.0.0/16"}, {"CidrIp": "10.0.0.0/8"}],
                }
            ],
            id="ranges",
        ),
        pytest.param(["-p", "-1"], [{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, **ANYWHERE}], id="all ports"),
        pytest.param(
            ["-t", "-1:-1"], [{"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, **ANYWHERE}], id="icmp by its type"
        ),
        pytest.param(
            ["-P", "1", "--icmp-type-code", "8:-1"],
            [{"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, **ANYWHERE}],
            id="icmp by number",
        ),
        pytest.param(["-P", "icmp"], [{"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, **ANYWHERE}], id="all icmp"),
        pytest.param(["-P", "all"], [{"IpProtocol": "-1", **ANYWHERE}], id="everything"),
        pytest.param(
            ["-o", "websrv"],
            [
                {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupName": "websrv"}]},
                {"IpProtocol": "udp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupName": "websrv"}]},
                {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "UserIdGroupPairs": [{"GroupName": "websrv"}]},
            ],
            id="a group",
        ),
        pytest.param(
            ["-P", "tcp", "-o", "sg-1"],
            [{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": "sg-1"}]}],
            id="a group by id, of one protocol",
        ),
        pytest.param(
            ["-p", "80", "-o", "a", "-u", "1111-2222-3333", "-o", "b", "-u", "444455556666"],
            [
                {
                    "IpProtocol": "tcp",
                    "FromPort": 80,
                    "ToPort": 80,
                    "UserIdGroupPairs": [
                        {"GroupName": "a", "UserId": "111122223333"},
                        {"GroupName": "b", "UserId": "444455556666"},
                    ],
                }
            ],
            id="groups and their owners",
        ),
    ],
)
def test_permissions(words: list[str], permissions: list[dict[str, Any]]) -> None:
    assert asked("default", *words) == {"GroupName": "default", "IpPermissions": permissions}


def test_a_group_by_its_id() -> None:
    assert asked("sg-1", "-p", "22")["GroupId"] == "sg-1"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param([], "which ports", id="no ports"),
        pytest.param(["-p", "80:84"], '-p, --port-range: "80:84" is no range of ports', id="colon"),
        pytest.param(["-p", "84-80"], "is no range of ports", id="backwards"),
        pytest.param(["-p", "65536"], "is no range of ports", id="too high"),
        pytest.param(["-P", "ipx", "-p", "1"], '"ipx" is no protocol', id="protocol"),
        pytest.param(["-t", "8"], '"8" is no ICMP type and code', id="type alone"),
        pytest.param(["-t", "8:0", "-P", "tcp"], "-t is for icmp, not for tcp", id="type of tcp"),
        pytest.param(["-t", "8:0", "-p", "22"], "ports, and a type of ICMP", id="type and ports"),
        pytest.param(["-P", "icmp", "-p", "22"], "-p is for tcp and udp, not for icmp", id="ports of icmp"),
        pytest.param(["-p", "22", "-o", "a", "-s", "10.0.0.0/8"], "for addresses or for groups", id="both"),
        pytest.param(["-p", "22", "-u", "111122223333"], "none is named", id="owner alone"),
        pytest.param(["-o", "a", "-o", "b", "-u", "111122223333"], "2 groups and 1 owners", id="owners"),
        pytest.param(["-p", "22", "-u", "me"], "is not an AWS account number", id="account"),
    ],
)
def test_no_request(words: list[str], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        asked("default", *words)
