"""A link to a region that can be as bad as a network is: cut, throttled, or slow. Plain TCP on loopback.

python -m tests.support.links ENDPOINT RATE    prints its own address, and carries RATE bytes a second either way
"""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 1 << 16
_SLOW_DOWN = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate."
    b"</Message><RequestId>link</RequestId></Error>"
)


class Link:
    """Carries connections to an endpoint. Faults are used up one by one, each by the next connection that meets it."""

    def __init__(self, endpoint: str, rate: float = 0) -> None:
        parts = urlsplit(endpoint)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut_answers: list[int] = []
        """After so many bytes of answers a connection is cut."""
        self.cut_requests: list[int] = []
        """After so many bytes of requests a connection is cut."""
        self.refusals = 0
        """So many connections get 503 SlowDown for their first request."""
        self._pace = _Pace(rate)
        self._lock = threading.Lock()

    def serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _carry(self, client: socket.socket) -> None:
        with self._lock:
            refused = self.refusals > 0
            self.refusals -= refused
        if refused:
            _refuse(client)
            return
        try:
            server = socket.create_connection(self._upstream)
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target, cuts in ((client, server, self.cut_requests), (server, client, self.cut_answers)):
            threading.Thread(target=self._pump, args=(source, target, cuts), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, cuts: list[int]) -> None:
        carried = 0
        buffer = bytearray(_PIECE)
        with suppress(OSError):
            while count := source.recv_into(buffer):
                self._pace.wait(count)
                with self._lock:
                    cut = next((at for at in cuts if at < carried + count), None)
                    if cut is not None:
                        cuts.remove(cut)
                if cut is not None:
                    target.sendall(buffer[: max(0, cut - carried)])
                    break
                target.sendall(memoryview(buffer)[:count])
                carried += count
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class _Pace:
    """Lets bytes through at a rate, over all connections together."""

    def __init__(self, rate: float) -> None:
        self._rate, self._lock, self._free_at = rate, threading.Lock(), 0.0

    def wait(self, count: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.02) + count / self._rate
            delay = self._free_at - now
        if delay > 0:
            time.sleep(delay)


def _refuse(client: socket.socket) -> None:
    with client, client.makefile("rb") as stream, suppress(OSError):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return
            head += line
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        if b"expect" not in fields:
            stream.read(int(fields.get(b"content-length", b"0")))
        answer = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Type: application/xml\r\n"
        client.sendall(answer + b"Content-Length: %d\r\n\r\n" % len(_SLOW_DOWN) + _SLOW_DOWN)


@contextmanager
def link(endpoint: str, rate: float = 0) -> Iterator[Link]:
    """A link of this process."""
    made = Link(endpoint, rate)
    threading.Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    program = Link(sys.argv[1], float(sys.argv[2]))
    print(program.url, flush=True)
    program.serve()
