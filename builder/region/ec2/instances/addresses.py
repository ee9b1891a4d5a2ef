"""Addresses and names of instances, as EC2's classic network gave them out. Pure.

A private address is one of 10.0.0.0/8, the host's part of a /23 whose first address is the router's
(builder/machine/network.py); of an HVM instance it is one of 172.31.0.0/16 (builder/machine/plain.py). A public one is
of the host's loopback network, so that the guest's own port numbers can be listened on there, and its name is the
address itself: nothing on the host would know another one.
"""

import ipaddress
from dataclasses import dataclass

from builder.machine.guest import classic_mac, classic_name

# The default VPC's network, whose first addresses are its router's, its name server's and EC2's own.
_VPC = ipaddress.IPv4Address("172.31.0.0")
DOMAIN = "ec2.internal"
ENTROPY = 2**72


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    private: str
    public: str
    mac: str


def addresses_of(number: int, *, hvm: bool = False) -> Addresses:
    """What a random number below ENTROPY stands for. Two numbers may have an address in common: look, and try again."""
    number, mac = divmod(number, 2**24)
    private = _vpc(number % 2**20) if hvm else _private(number % 2**20)
    return Addresses(private=private, public=_public(number // 2**20), mac=classic_mac(mac))


def _private(number: int) -> str:
    """10.240.0.2 to 10.255.255.254, never the first or the last address of a /23."""
    network, host = divmod(number, 2**8)
    return str(ipaddress.IPv4Address("10.240.0.0") + network * 2**8 + 2 + host % 253)


def _vpc(number: int) -> str:
    """172.31.0.16 to 172.31.255.254, never the last address of a /24."""
    third, fourth = divmod(number % 2**16, 2**8)
    return str(_VPC + third * 2**8 + 16 + fourth % 239)


def _public(number: int) -> str:
    """127.1.0.1 to 127.254.255.254: what lies below is where other programs listen."""
    rest, host = divmod(number, 254)
    second, third = divmod(rest % (254 * 256), 256)
    return f"127.{second + 1}.{third}.{host + 1}"


def private_name(address: str) -> str:
    return f"{classic_name(address)}.{DOMAIN}"
