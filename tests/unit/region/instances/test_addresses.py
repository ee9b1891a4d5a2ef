"""Addresses of instances: what may be given out, and what never is."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.machine.network import gateway
from builder.region.ec2.instances.addresses import ENTROPY, Addresses, addresses_of, private_name


@given(st.integers(min_value=0, max_value=ENTROPY - 1))
def test_every_number_stands_for_addresses_that_a_guest_can_have(number: int) -> None:
    found = addresses_of(number)
    private, public = ipaddress.IPv4Address(found.private), ipaddress.IPv4Address(found.public)
    network = ipaddress.ip_interface(f"{found.private}/23").network
    assert private in ipaddress.IPv4Network("10.240.0.0/12")
    assert found.private not in (gateway(found.private), str(network[0]), str(network[-1]))
    assert public.is_loopback
    assert ipaddress.IPv4Address("127.1.0.1") <= public <= ipaddress.IPv4Address("127.254.255.254")
    assert found.mac.startswith("12:31:39:") and len(found.mac) == 17


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(0, Addresses(private="10.240.0.2", public="127.1.0.1", mac="12:31:39:00:00:00"), id="first"),
        pytest.param(
            2**24 * (1 + 2**20) + 5,
            Addresses(private="10.240.0.3", public="127.1.0.2", mac="12:31:39:00:00:05"),
            id="each-of-its-own-bits",
        ),
    ],
)
def test_addresses(number: int, expected: Addresses) -> None:
    assert addresses_of(number) == expected


def test_numbers_are_spread() -> None:
    assert len({addresses_of(number * 2**44 + number * 2**24 + number).public for number in range(1000)}) > 900


def test_private_name() -> None:
    assert private_name("10.251.50.35") == "ip-10-251-50-35.ec2.internal"
