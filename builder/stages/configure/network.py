"""The network's files, for each of the programs that a distribution may configure it with. Pure."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from builder.stages.configure.spec import NetworkSpec

# Xen's first interface: eth0 to systemd 252 and older, or with net.ifnames=0; enX0 to newer ones.
INTERFACES = ("eth0", "enX0")
# On a machine with a PCI bus the first one is eth0 with net.ifnames=0; else ens3, ens5, enp0s5: by its slot.
PREDICTABLE = ("eth0", "en*")
_NO_RENAMING = "net.ifnames=0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    path: str
    text: str
    mode: int = 0o644


def network_files(
    network: NetworkSpec, command_line: str, interfaces: tuple[str, ...] = INTERFACES
) -> tuple[TextFile, ...]:
    """What makes the first interface ask for its address by DHCP, whatever it is called (`*` stands for the rest of a
    name, where the renderer knows that)."""
    return _RENDERERS[network.renderer](network.hostname, command_line.split(), interfaces)


def _ifcfg(hostname: str, command_line: list[str], interfaces: tuple[str, ...]) -> tuple[TextFile, ...]:
    # network.service fails when an interface it is told of is not there, so name no more than can be.
    named = tuple(name for name in interfaces if "*" not in name)
    named = named[:1] if _NO_RENAMING in command_line else named
    general = "NETWORKING=yes\nNOZEROCONF=yes\n" + (f"HOSTNAME={hostname}\n" if hostname else "")
    return (
        TextFile(path="/etc/sysconfig/network", text=general),
        *(
            TextFile(
                path=f"/etc/sysconfig/network-scripts/ifcfg-{name}",
                text=f"DEVICE={name}\nTYPE=Ethernet\nBOOTPROTO=dhcp\nONBOOT=yes\nPEERDNS=yes\nPERSISTENT_DHCLIENT=yes\n"
                "USERCTL=no\nIPV6INIT=no\n",
            )
            for name in named
        ),
    )


def _networkmanager(hostname: str, command_line: list[str], interfaces: tuple[str, ...]) -> tuple[TextFile, ...]:
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, "ami-factory.networkmanager")
    keyfile = (
        f"[connection]\nid=ami-factory\nuuid={identity}\ntype=ethernet\nautoconnect-priority=10\n\n"
        f"[match]\ninterface-name={';'.join(interfaces)};\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    )
    # NetworkManager leaves alone what others may read: it could hold secrets.
    path = "/etc/NetworkManager/system-connections/ami-factory.nmconnection"
    return (TextFile(path=path, text=keyfile, mode=0o600),)


def _networkd(hostname: str, command_line: list[str], interfaces: tuple[str, ...]) -> tuple[TextFile, ...]:
    # DHCP's host name is set by ami-factory-hostname.service. The machine's id, from which the client identifier is
    # made otherwise, is new in each instance.
    text = (
        f"[Match]\nName={' '.join(interfaces)}\n\n[Network]\nDHCP=ipv4\n\n"
        f"[DHCPv4]\nClientIdentifier=mac\nUseDomains=yes\nUseHostname=no\n"
    )
    return (TextFile(path="/etc/systemd/network/10-ami-factory.network", text=text),)


_RENDERERS: dict[str, Callable[[str, list[str], tuple[str, ...]], tuple[TextFile, ...]]] = {
    "ifcfg": _ifcfg,
    "networkmanager": _networkmanager,
    "networkd": _networkd,
}
