"""One connection of a guest's, from QEMU to where it is meant for: run by QEMU for each, on its stdin and stdout.

    relay.py metadata SLOT    to the metadata service, after a line that says whose connection it is
    relay.py port NUMBER      to a port of the host's loopback

Stands alone: it is started with `-I -S`, from a copy, in 20 ms.
"""

import os
import select
import socket
import sys


def connect(kind: str, value: str) -> socket.socket:
    if kind == "port":
        return socket.create_connection(("127.0.0.1", int(value)), timeout=10)
    made = socket.socket(socket.AF_UNIX)
    made.connect("metadata")
    made.sendall(f"{value}\n".encode())
    return made


def pump(peer: socket.socket) -> None:
    """Both ways, until the peer has said all. The guest's end of stream is passed on."""
    open_inputs = [0, peer.fileno()]
    while peer.fileno() in open_inputs:
        for ready in select.select(open_inputs, [], [])[0]:
            chunk = os.read(ready, 65536)
            if not chunk:
                open_inputs.remove(ready)
                if ready == 0:
                    peer.shutdown(socket.SHUT_WR)
            elif ready == 0:
                peer.sendall(chunk)
            else:
                while chunk:
                    chunk = chunk[os.write(1, chunk) :]


if __name__ == "__main__":
    try:
        pump(connect(sys.argv[1], sys.argv[2]))
    except OSError:
        sys.exit(1)
