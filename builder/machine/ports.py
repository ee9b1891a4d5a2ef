"""Ports of the host's loopback that are listened on for a guest, by QEMU's user network."""

import socket

from builder.errors import BuilderError
from builder.machine.qmp import Monitor

_ATTEMPTS = 10


def listen(monitor: Monitor, guest: str, guest_port: int, *, address: str = "127.0.0.1", port: int = 0) -> int:
    """Listen on a loopback address for a TCP port of the guest with that address; the port that was taken (0: any).

    BuilderError if it cannot be listened on.
    """
    for _ in range(_ATTEMPTS):
        chosen = port or free(address)
        said = monitor.human(f"hostfwd_add net tcp:{address}:{chosen}-{guest}:{guest_port}")
        if not said:
            return chosen
        if port:
            break
    raise BuilderError(f"{address} port {chosen} cannot be listened on", detail=said)


def close(monitor: Monitor, port: int, *, address: str = "127.0.0.1") -> None:
    """Listen there no more; connections that there are go on."""
    monitor.human(f"hostfwd_remove net tcp:{address}:{port}")


def free(address: str) -> int:
    """A port that nobody listens on; somebody may before it is taken."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
