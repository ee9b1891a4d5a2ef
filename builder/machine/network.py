"""The guests' network. Pure: addresses, QEMU's part, DHCP, and dom0's packet filter.

Every guest has a line of its own to dom0, which routes: so who sent a packet is known by where it came in. QEMU's user
network is the outside: the host's connections to guests come in there (hostfwd), and each guest's own metadata address
leads out there (guestfwd), to a relay that is told the guest's slot. Nothing else leaves, and nothing of the host but
loopback is touched; no right is needed.

    guest gN --- vif "gN" --- dom0 (nftables) --- eth0 --- QEMU 100.64.0.1 --- loopback of the host
    169.254.169.254:80 of gN  ->  100.64.1.N:80  ->  relay N  ->  the metadata service, here

The filter is the whole truth: a guest reaches another one, and the host reaches a guest, when a permission says so.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.machine.qemu import escaped

SLOTS = 16
"""Guests at a time on one Xen host: a virtio-serial bus has ports for 30 consoles."""
METADATA = "169.254.169.254"
HOST = "100.64.0.1"
"""The host, as dom0 sees it. Guests see the client's address instead."""
CLIENT = "203.0.113.25"
"""Where the host's connections to guests seem to come from, unless another address is set (RFC 5737: nobody's)."""
LEASE_SECONDS = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What may reach a guest: as a security group's rule says it."""

    protocol: str
    """tcp, udp, icmp or all."""
    first: int = 0
    """The first port; of icmp the type, -1 for all."""
    last: int = 65535
    """The last port; of icmp the code, -1 for all."""
    cidrs: tuple[str, ...] = ()
    """IPv4 only: this network has no other."""
    addresses: tuple[str, ...] = ()
    """Of guests: the members of a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A guest as the filter sees it."""

    slot: int
    address: str
    permissions: tuple[Permission, ...] = ()


def metadata_address(slot: int) -> str:
    """Where a slot's connections to the metadata service leave dom0."""
    return f"100.64.1.{slot}"


def service_address(number: int) -> str:
    """Where guests find a service of the host's, counted from 0."""
    return f"100.64.2.{number + 1}"


def gateway(address: str) -> str:
    """The router of a guest's network: the first address of its /23, as EC2 had it."""
    return str(ipaddress.ip_interface(f"{address}/23").network[1])


def user_network(python: str | Path, services: Sequence[int]) -> str:
    """QEMU's -netdev. `services` are ports of the host's loopback that guests may reach, each at its own address."""
    relay = f'"{python}" -I -S ./relay.py'
    forwards = [
        f"guestfwd=tcp:{metadata_address(slot)}:80-cmd:{escaped(relay)} metadata {slot}" for slot in range(1, SLOTS + 1)
    ]
    forwards += [
        f"guestfwd=tcp:{service_address(number)}:{port}-cmd:{escaped(relay)} port {port}"
        for number, port in enumerate(services)
    ]
    options = f"net=100.64.0.0/16,host={HOST},dns=100.64.0.3,dhcpstart=100.64.0.15,restrict=on"
    return ",".join(["user,id=net", options, *forwards])


def format_dhcp(*, slot: int, mac: str, address: str, hostname: str, domain: str) -> str:
    """udhcpd.conf of the one server that a guest's line has."""
    return (
        f"interface g{slot}\nstart {address}\nend {address}\nmax_leases 1\nauto_time 0\n"
        f"static_lease {mac} {address}\nlease_file /run/guests/{slot}/leases\npidfile /run/guests/{slot}/udhcpd.pid\n"
        f"option subnet 255.255.254.0\noption router {gateway(address)}\noption lease {LEASE_SECONDS}\n"
        f"option hostname {hostname}\noption domain {domain}\n"
    )


def format_ruleset(wires: Sequence[Wire], *, client: str = CLIENT, services: Sequence[int] = ()) -> str:
    """dom0's whole filter, as nft loads it at one stroke."""
    chains = {
        "spoofing": ("type filter hook prerouting priority raw; policy accept;", _spoofing(wires)),
        "prerouting": ("type nat hook prerouting priority dstnat; policy accept;", _to_metadata(wires)),
        "postrouting": (
            "type nat hook postrouting priority srcnat; policy accept;",
            (f'oifname "g*" ip saddr {HOST} snat ip to {client}',),
        ),
        "input": (
            "type filter hook input priority filter; policy accept;",
            ('iifname "g*" udp dport 67 accept', 'iifname "g*" icmp type echo-request accept', 'iifname "g*" drop'),
        ),
        "forward": (
            "type filter hook forward priority filter; policy drop;",
            (
                "ct state established,related accept",
                *_outwards(wires, services),
                *(rule for wire in wires for rule in _inwards(wire, client)),
            ),
        ),
    }
    body = "".join(
        f"    chain {name} {{\n        {hook}\n" + "".join(f"        {rule}\n" for rule in rules) + "    }\n"
        for name, (hook, rules) in chains.items()
    )
    return f"table inet ami_factory\ndelete table inet ami_factory\ntable inet ami_factory {{\n{body}}}\n"


def _spoofing(wires: Sequence[Wire]) -> Iterator[str]:
    """A guest sends as itself, or, while it asks for its address, as nobody (which is not routed)."""
    for wire in wires:
        yield f'iifname "g{wire.slot}" ip saddr != {{ 0.0.0.0, {wire.address} }} drop'
        yield f'iifname "g{wire.slot}" meta nfproto ipv6 drop'


def _to_metadata(wires: Sequence[Wire]) -> Iterator[str]:
    for wire in wires:
        target = metadata_address(wire.slot)
        yield f'iifname "g{wire.slot}" ip daddr {METADATA} tcp dport 80 dnat ip to {target}'


def _outwards(wires: Sequence[Wire], services: Sequence[int]) -> Iterator[str]:
    for wire in wires:
        yield f'iifname "g{wire.slot}" oifname "eth0" ip daddr {metadata_address(wire.slot)} tcp dport 80 accept'
    for number, port in enumerate(services):
        yield f'iifname "g*" oifname "eth0" ip daddr {service_address(number)} tcp dport {port} accept'


def _inwards(wire: Wire, client: str) -> Iterator[str]:
    for permission in wire.permissions:
        what = _match(permission)
        networks = [ipaddress.IPv4Network(each, strict=False) for each in permission.cidrs]
        if any(ipaddress.IPv4Address(client) in each for each in networks):
            yield f'iifname "eth0" oifname "g{wire.slot}" ip saddr {HOST} {what}accept'
        guests = [*(str(each) for each in ipaddress.collapse_addresses(networks)), *permission.addresses]
        for source in dict.fromkeys(guests):
            yield f'iifname "g*" oifname "g{wire.slot}" ip saddr {source} {what}accept'


def _match(permission: Permission) -> str:
    if permission.protocol == "all":
        return ""
    if permission.protocol == "icmp":
        kind = f" icmp type {permission.first}" if permission.first >= 0 else ""
        code = f" icmp code {permission.last}" if permission.first >= 0 and permission.last >= 0 else ""
        return f"meta l4proto icmp{kind}{code} "
    return f"{permission.protocol} dport {permission.first}-{permission.last} "


def reachable(permissions: Iterable[Permission], address: str, port: int, protocol: str = "tcp") -> bool:
    """Whether a peer may reach a port: the same question that the filter answers, for who only wants to know."""
    return any(
        permission.protocol in ("all", protocol)
        and (permission.protocol == "all" or permission.first <= port <= permission.last)
        and (
            address in permission.addresses
            or any(
                ipaddress.ip_address(address) in ipaddress.ip_network(each, strict=False) for each in permission.cidrs
            )
        )
        for permission in permissions
    )
