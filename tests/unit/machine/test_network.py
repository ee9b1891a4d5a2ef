"""Addresses, DHCP and the packet filter, as text."""

import pytest

from builder.machine import network
from builder.machine.network import Permission, Wire

SSH = Permission(protocol="tcp", first=22, last=22, cidrs=("203.0.113.0/24",))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.251.50.35", "10.251.50.1"), ("10.251.51.35", "10.251.50.1"), ("10.0.0.2", "10.0.0.1")],
)
def test_gateway(address: str, expected: str) -> None:
    assert network.gateway(address) == expected


def rules(*wires: Wire, chain: str = "forward", client: str = network.CLIENT) -> list[str]:
    """The rules of a chain, without its hook."""
    text = network.format_ruleset(wires, client=client, services=(8080,))
    body = text.partition(f"chain {chain} {{")[2].partition("}\n    chain")[0].partition("\n    }\n")[0]
    return [line.strip() for line in body.splitlines() if line.strip()][1:]


def test_nothing_reaches_a_guest_without_a_permission() -> None:
    assert rules(Wire(slot=1, address="10.0.0.2")) == [
        "ct state established,related accept",
        'iifname "g1" oifname "eth0" ip daddr 100.64.1.1 tcp dport 80 accept',
        'iifname "g*" oifname "eth0" ip daddr 100.64.2.1 tcp dport 8080 accept',
    ]


def test_a_network_lets_in_the_host_where_its_client_stands_in_it() -> None:
    wire = Wire(slot=2, address="10.0.0.2", permissions=(SSH,))
    within, outside = rules(wire)[3:], rules(wire, client="198.51.100.7")[3:]
    assert within == [
        'iifname "eth0" oifname "g2" ip saddr 100.64.0.1 tcp dport 22-22 accept',
        'iifname "g*" oifname "g2" ip saddr 203.0.113.0/24 tcp dport 22-22 accept',
    ]
    assert outside == within[1:]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        pytest.param(
            Permission(protocol="tcp", first=80, last=81, addresses=("10.0.0.3", "10.0.0.4")),
            [
                'iifname "g*" oifname "g1" ip saddr 10.0.0.3 tcp dport 80-81 accept',
                'iifname "g*" oifname "g1" ip saddr 10.0.0.4 tcp dport 80-81 accept',
            ],
            id="group",
        ),
        pytest.param(
            Permission(protocol="icmp", first=8, last=0, addresses=("10.0.0.3",)),
            ['iifname "g*" oifname "g1" ip saddr 10.0.0.3 meta l4proto icmp icmp type 8 icmp code 0 accept'],
            id="ping",
        ),
        pytest.param(
            Permission(protocol="icmp", first=-1, last=-1, addresses=("10.0.0.3",)),
            ['iifname "g*" oifname "g1" ip saddr 10.0.0.3 meta l4proto icmp accept'],
            id="all icmp",
        ),
        pytest.param(
            Permission(protocol="all", addresses=("10.0.0.3",)),
            ['iifname "g*" oifname "g1" ip saddr 10.0.0.3 accept'],
            id="all",
        ),
    ],
)
def test_permissions(permission: Permission, expected: list[str]) -> None:
    assert rules(Wire(slot=1, address="10.0.0.2", permissions=(permission,)))[3:] == expected


def test_each_guest_has_its_own_way_to_the_metadata_service() -> None:
    wires = (Wire(slot=1, address="10.0.0.2"), Wire(slot=2, address="10.0.0.3"))
    assert rules(*wires, chain="prerouting") == [
        'iifname "g1" ip daddr 169.254.169.254 tcp dport 80 dnat ip to 100.64.1.1',
        'iifname "g2" ip daddr 169.254.169.254 tcp dport 80 dnat ip to 100.64.1.2',
    ]


def test_the_host_is_seen_as_the_client() -> None:
    assert rules(chain="postrouting", client="198.51.100.7") == [
        'oifname "g*" ip saddr 100.64.0.1 snat ip to 198.51.100.7'
    ]


def test_dhcp() -> None:
    text = network.format_dhcp(
        slot=3, mac="12:31:39:00:00:03", address="10.251.50.35", hostname="ip-10-251-50-35", domain="ec2.internal"
    )
    assert text.splitlines() == [
        "interface g3",
        "start 10.251.50.35",
        "end 10.251.50.35",
        "max_leases 1",
        "auto_time 0",
        "static_lease 12:31:39:00:00:03 10.251.50.35",
        "lease_file /run/guests/3/leases",
        "pidfile /run/guests/3/udhcpd.pid",
        "option subnet 255.255.254.0",
        "option router 10.251.50.1",
        "option lease 86400",
        "option hostname ip-10-251-50-35",
        "option domain ec2.internal",
    ]


def test_qemus_network() -> None:
    text = network.user_network("./python", (8080,))
    assert text.startswith("user,id=net,net=100.64.0.0/16,host=100.64.0.1,")
    assert 'guestfwd=tcp:100.64.1.16:80-cmd:"./python" -I -S ./relay.py metadata 16,' in text
    assert text.endswith('guestfwd=tcp:100.64.2.1:8080-cmd:"./python" -I -S ./relay.py port 8080')


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [("203.0.113.9", 22, True), ("203.0.113.9", 23, False), ("198.51.100.1", 22, False), ("10.0.0.9", 80, True)],
)
def test_reachable(address: str, port: int, expected: bool) -> None:
    group = Permission(protocol="tcp", first=80, last=80, addresses=("10.0.0.9",))
    assert network.reachable((SSH, group), address, port) is expected
