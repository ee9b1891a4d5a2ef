"""The ports of guests that are listened on at their public addresses, on the host's loopback network.

A port is listened on exactly when the host's client may reach it, so that a closed one is refused at once. A rule for
very many ports would take as many listeners: of such a rule the well-known ports are listened on.
"""

from collections.abc import Iterable, Sequence

from builder.machine.network import Permission, reachable

WIDEST = 128
"""Ports of one rule that are all listened on."""
WELL_KNOWN = (21, 22, 25, 80, 110, 143, 389, 443, 993, 995, 3000, 3306, 5000, 5432, 6379, 8000, 8080, 8443, 9000)


def listened(permissions: Sequence[Permission], client: str) -> tuple[int, ...]:
    """The TCP ports that a client at that address may reach, and that are listened on."""
    candidates = {port for each in permissions if each.protocol in ("tcp", "all") for port in _ports(each)}
    return tuple(sorted(port for port in candidates if reachable(permissions, client, port)))


def _ports(permission: Permission) -> Iterable[int]:
    if permission.protocol == "all":
        return WELL_KNOWN
    if permission.last - permission.first < WIDEST:
        return range(max(1, permission.first), permission.last + 1)
    return (port for port in WELL_KNOWN if permission.first <= port <= permission.last)
