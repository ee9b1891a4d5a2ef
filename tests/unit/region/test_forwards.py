"""The ports that are listened on: those that the host's client may reach, and not too many."""

import pytest

from builder.machine.network import Permission
from builder.region.forwards import WELL_KNOWN, listened

CLIENT = "203.0.113.25"
EVERYBODY = ("0.0.0.0/0",)


def tcp(first: int, last: int, *cidrs: str) -> Permission:
    return Permission(protocol="tcp", first=first, last=last, cidrs=cidrs or EVERYBODY)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        pytest.param((), (), id="none"),
        pytest.param((tcp(22, 22), tcp(80, 80), tcp(22, 22)), (22, 80), id="each-once"),
        pytest.param((tcp(8000, 8003),), (8000, 8001, 8002, 8003), id="a-range"),
        pytest.param((tcp(22, 22, "198.51.100.0/24"),), (), id="not-for-this-client"),
        pytest.param((tcp(22, 22, "203.0.113.0/24"),), (22,), id="for-this-client"),
        pytest.param((tcp(20, 25, "203.0.113.25/32"), tcp(24, 30, "10.0.0.0/8")), (20, 21, 22, 23, 24, 25), id="both"),
        pytest.param((tcp(1, 1023),), (21, 22, 25, 80, 110, 143, 389, 443, 993, 995), id="a-wide-range"),
        pytest.param((tcp(0, 65535),), WELL_KNOWN, id="all-ports"),
        pytest.param((Permission(protocol="all", cidrs=EVERYBODY),), WELL_KNOWN, id="all-protocols"),
        pytest.param((Permission(protocol="udp", first=53, last=53, cidrs=EVERYBODY),), (), id="udp"),
        pytest.param((Permission(protocol="tcp", first=22, last=22, addresses=("10.1.2.3",)),), (), id="by-group"),
    ],
)
def test_listened(permissions: tuple[Permission, ...], expected: tuple[int, ...]) -> None:
    assert listened(permissions, CLIENT) == expected
