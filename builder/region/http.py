"""HTTP on loopback: one thread a connection, bodies streamed both ways, nothing of a body kept in memory."""

import json
import socket
import string
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO, Protocol

from builder.region.errors import ServiceError

CHUNK = 1 << 20
# An idle connection is given up after this many seconds, so that threads do not pile up.
IDLE = 300
# After a refusal what is left of the body is read and dropped, up to here: closing on a client that still sends would
# take the answer from it.
DRAIN = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back. Stretches of open files (file, offset, length) follow `body`, and are closed when sent.

    `length` is what the answer to a HEAD declares without sending it.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    files: tuple[tuple[BinaryIO, int, int], ...] = ()
    length: int | None = None


class Body:
    """The bytes of a request, decoded from whatever framing they came in. Reading begins the transfer."""

    def __init__(self, handler: "Handler") -> None:
        self._handler = handler
        coding = handler.headers.get("Transfer-Encoding", "").lower()
        self._chunked = "chunked" in [each.strip() for each in coding.split(",")]
        content = handler.headers.get("Content-Length", "0" if not self._chunked else "")
        if content and not content.isdecimal():
            raise ServiceError("InvalidRequest", "Content-Length is not a number")
        self._left = int(content) if content else 0
        self.framed = "aws-chunked" in handler.headers.get("Content-Encoding", "").lower() or handler.headers.get(
            "x-amz-content-sha256", ""
        ).startswith("STREAMING-")
        self._chunk_left = 0
        self._ended = not self._chunked and self._left == 0
        self.trailers: dict[str, str] = {}
        self._frame_left = 0
        self._frames_ended = False
        self._expects = handler.headers.get("Expect", "").lower() == "100-continue"

    @property
    def finished(self) -> bool:
        return self._ended

    @property
    def untouched_and_expecting(self) -> bool:
        """The client still waits to be told to go on: nothing was sent, nothing need be drained."""
        return self._expects

    def read(self, size: int = CHUNK) -> bytes:
        """Up to `size` bytes of content; empty at the end. A body that stops short raises IncompleteBody."""
        return self._read_frame(size) if self.framed else self._read_transfer(size)

    def read_all(self, limit: int) -> bytes:
        """All of a small body."""
        pieces = []
        total = 0
        while piece := self.read():
            total += len(piece)
            if total > limit:
                raise ServiceError("MaxMessageLengthExceeded", "Your request was too big.")
            pieces.append(piece)
        return b"".join(pieces)

    def _go_on(self) -> None:
        if self._expects:
            self._expects = False
            self._handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _read_transfer(self, size: int) -> bytes:
        """Bytes as HTTP carries them: counted by Content-Length, or chunked."""
        if self._ended:
            return b""
        self._go_on()
        if self._chunked and self._chunk_left == 0:
            self._chunk_left = self._hexadecimal(self._handler.rfile.readline(1024))
            if self._chunk_left == 0:
                while self._handler.rfile.readline(1024).strip():
                    pass
                self._ended = True
                return b""
        wanted = min(size, self._chunk_left if self._chunked else self._left)
        piece = self._handler.rfile.read(wanted)
        if len(piece) < wanted:
            self._handler.close_connection = True
            self._ended = True
            raise _incomplete()
        if self._chunked:
            self._chunk_left -= len(piece)
            if self._chunk_left == 0:
                self._handler.rfile.readline(1024)
        else:
            self._left -= len(piece)
            self._ended = self._left == 0
        return piece

    def _read_frame(self, size: int) -> bytes:
        """Bytes inside aws-chunked framing, inside the transfer: `SIZE;chunk-signature=...`, data, ..., trailers."""
        if self._frames_ended:
            return b""
        if self._frame_left == 0:
            self._frame_left = self._hexadecimal(self._line())
            if self._frame_left == 0:
                while line := self._line().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    self.trailers[name.strip().lower()] = value.strip()
                while self._read_transfer(CHUNK):
                    pass
                self._frames_ended = True
                return b""
        piece = self._read_transfer(min(size, self._frame_left))
        if not piece:
            raise _incomplete()
        self._frame_left -= len(piece)
        if self._frame_left == 0:
            self._line()
        return piece

    def _line(self) -> bytes:
        """A line inside the transfer; byte by byte from the buffered socket, since frames are few and large."""
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = self._read_transfer(1)
            if not piece:
                break
            line += piece
            if len(line) > 4096:
                raise ServiceError("InvalidRequest", "A chunk's header is too long")
        return bytes(line)

    @staticmethod
    def _hexadecimal(line: bytes) -> int:
        digits = line.split(b";")[0].strip()
        # int() alone would take "-1" too, and reading -1 bytes is reading until the end.
        if not digits or digits.strip(string.hexdigits.encode()):
            raise ServiceError("InvalidRequest", "A chunk's size is not a hexadecimal number")
        return int(digits, 16)

    def drain(self) -> None:
        """Read and drop what is left, until it is too much or does not come."""
        dropped = 0
        with suppress(ServiceError, OSError):
            while dropped <= DRAIN and (piece := self._read_transfer(CHUNK)):
                dropped += len(piece)


def _incomplete() -> ServiceError:
    return ServiceError(
        "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
    )


class Application(Protocol):
    """Turns a request into an answer; every refusal of a service is an answer too."""

    def __call__(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> Answer: ...


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and nowhere else."""

    daemon_threads = True
    request_queue_size = 128

    application: Application
    health: Callable[[], Mapping[str, object]]

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        # HTTPServer would look the host's name up; nothing needs it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event; anything else is a fault of ours and goes to the log."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "ami-factory-region"
    sys_version = ""
    timeout = IDLE
    disable_nagle_algorithm = True
    rbufsize = 1 << 16
    server: Server

    def handle_expect_100(self) -> bool:
        """Told to go on when the body is first read: a request that is refused first sends none."""
        return True

    def log_message(self, format: str, *args: object) -> None:
        del format, args  # only refusals and faults are logged, by `_answer`

    def _serve(self) -> None:
        if self.path == "/_region/health":
            self._send(Answer(status=200, body=json.dumps(self.server.health()).encode() + b"\n"))
            return
        try:
            body = Body(self)
        except ServiceError:
            self.send_error(400)
            self.close_connection = True
            return
        answer = self.server.application(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
        unread = not body.finished
        if unread:
            self.close_connection = True
        self._send(answer)
        if unread and not body.untouched_and_expecting:
            body.drain()
        if answer.status >= 400:
            sys.stderr.write(f"{self.log_date_time_string()} {answer.status} {self.command} {self.path}\n")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _send(self, answer: Answer) -> None:
        content = len(answer.body) + sum(length for _, _, length in answer.files)
        headers = {
            "Server": self.server_version,
            "Date": self.date_time_string(),
            "Content-Length": str(content if answer.length is None else answer.length),
            **answer.headers,
        }
        if answer.status in (204, 304):
            del headers["Content-Length"]
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
        # A value may be the client's own (response-content-type): it must not begin a header of its own.
        lines += [f"{name}: {value}".replace("\r", " ").replace("\n", " ") for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        try:
            if self.command == "HEAD":
                self.wfile.write(head)
                return
            # In one write: two would wait for each other's acknowledgement.
            self.wfile.write(head + answer.body)
            for file, offset, length in answer.files:
                if length:
                    self.connection.sendfile(file, offset, length)
        finally:
            for file, _, _ in answer.files:
                file.close()
