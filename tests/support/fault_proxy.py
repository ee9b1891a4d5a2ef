"""A proxy of HTTP on loopback that does to requests what networks and regions do at their worst.

    with faults(endpoint, chance(0.2, seed=1)) as proxy: ... proxy.url ... proxy.blocks

It counts what the region behind it acknowledged, so that a test can tell what was sent twice.
"""

import http.client
import json
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, urlsplit

_BLOCK = re.compile(r"/snapshots/(snap-[0-9a-f]+)/blocks/([0-9]+)")


class Fault(Enum):
    """What happens to a request, or to its answer."""

    INTERNAL = "500"
    BARE = "503 without a word"
    THROTTLED = "RequestThrottledException"
    RESET = "the connection is reset before the region sees it"
    LOST = "the region does it, and the connection is reset before the answer"
    WRONG = "another checksum is echoed"
    DENIED = "AccessDeniedException"
    EXPIRED = "ExpiredTokenException"


Decide = Callable[[str, str, Any], Fault | None]
"""From method, path and headers to what happens; called one at a time."""

ANY = (Fault.INTERNAL, Fault.BARE, Fault.THROTTLED, Fault.RESET, Fault.LOST, Fault.WRONG)


def chance(share: float, seed: int, faults: tuple[Fault, ...] = ANY) -> Decide:
    """That share of requests, by dice that fall the same way each time as far as threads allow."""
    dice = random.Random(seed)
    return lambda method, path, headers: dice.choice(faults) if dice.random() < share else None


@dataclass(slots=True)
class Proxy:
    """A running proxy, and what went through it."""

    url: str
    decide: Decide
    blocks: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(snapshot, index) to how often the region acknowledged it."""
    requests: int = 0
    done: Counter[Fault] = field(default_factory=Counter)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    place: SplitResult
    lock: threading.Lock

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            self.proxy.requests += 1
            fault = self.proxy.decide(self.command, self.path, self.headers)
            if fault is not None:
                self.proxy.done[fault] += 1
        if fault is Fault.RESET:
            self._reset()
        elif fault in _REFUSALS:
            self._answer(*_refusal(*_REFUSALS[fault], spoken="json" if self.path.startswith("/snapshots") else "xml"))
        else:
            self._forward(body, fault)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        upstream = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
        except OSError:
            self._reset()
            return
        finally:
            upstream.close()
        block = _BLOCK.match(self.path)
        if block and self.command == "PUT" and answer.status == 201:
            with self.lock:
                self.proxy.blocks[block[1], int(block[2])] += 1
        if fault is Fault.LOST:
            self._reset()
            return
        headers = dict(answer.getheaders())
        if fault is Fault.WRONG and "x-amz-Checksum" in headers:
            headers["x-amz-Checksum"] = "A" * 43 + "="
        self._answer(answer.status, headers, data)

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        with suppress(OSError):
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", headers.get("Content-Length", str(len(data))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.close()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            super().handle()

    def log_message(self, format: str, *arguments: Any) -> None: ...


@contextmanager
def faults(endpoint: str, decide: Decide) -> Iterator[Proxy]:
    """A proxy of this process."""
    proxy = Proxy("", decide)

    class Handler(_Handler):
        pass

    Handler.proxy, Handler.place, Handler.lock = proxy, urlsplit(endpoint), threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


_REFUSALS = {
    Fault.INTERNAL: (500, "InternalServerException", ""),
    Fault.BARE: (503, "", ""),
    Fault.THROTTLED: (400, "RequestThrottledException", "ACCOUNT_THROTTLED"),
    Fault.DENIED: (403, "AccessDeniedException", "UNAUTHORIZED_ACCOUNT"),
    Fault.EXPIRED: (403, "ExpiredTokenException", ""),
}
"""Status, code (none: no body either), and reason."""


def _refusal(status: int, code: str, reason: str, *, spoken: str) -> tuple[int, dict[str, str], bytes]:
    """An error as the services say it: EBS in JSON, EC2 and S3 in XML."""
    if not code:
        return status, {}, b""
    if spoken == "json":
        return status, {"x-amzn-errortype": code}, json.dumps({"Message": code, "Reason": reason}).encode()
    error = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return status, {}, f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>".encode()
