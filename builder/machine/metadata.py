"""The metadata service at 169.254.169.254, for one instance: its tree of values, and the answer to one request.

Source: EC2 User Guide, "Access instance metadata": a path that ends in a list answers names, one a line, "/" after
those that are lists themselves; IMDSv2 asks for a session token by PUT, with its life time in seconds, 1 to 21600;
a token of another instance, or one whose time is over, is 401; X-Forwarded-For is refused when a token is asked for;
a service that is turned off answers 403.

Guests are strangers: what they send is bounded in length and in time, and shown to nobody as it came.
"""

import base64
import hashlib
import hmac
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from builder.formats.toml import printable

VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
    "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
    "2021-03-23", "2021-07-15", "latest",
)  # fmt: skip
TOKEN_PATH = "/latest/api/token"
_TTL = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "x-aws-ec2-metadata-token"
_MAX_SECONDS = 21600
_MAX_HEAD = 16384
PATIENCE = 60.0
"""Seconds for one request, from its first byte, or the end of the one before, to its last byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What one instance is told of itself."""

    values: Mapping[str, bytes]
    """Leaves by their path below a version: meta-data/instance-id, user-data."""
    token_required: bool = False
    """IMDSv2 only."""
    on: bool = True
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """What this instance's tokens are made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: HTTPStatus
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Log = Callable[[str], object]


def serve(
    connection: socket.socket,
    metadata: Metadata,
    log: Log,
    *,
    clock: Callable[[], float] = time.time,
    patience: float = PATIENCE,
) -> None:
    """Answer what one connection asks, until it is closed. `log` gets a line for each request."""
    lines = _Lines(connection, patience)
    with suppress(OSError):
        while (request := read_request(lines.readline)) is not None:
            found = answer(request, metadata, now=int(clock()))
            log(f"{printable(request.method)} {printable(request.path, 200)} {found.status.value}")
            last = found.status == HTTPStatus.BAD_REQUEST or _ends(request.headers)
            lines.renew()
            connection.sendall(format_answer(found, head=request.method == "HEAD", last=last))
            if last:
                return


def _ends(headers: Mapping[str, str]) -> bool:
    """Whether nothing follows on the connection. What comes with a body is not read on: the body is no request."""
    body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return body or headers.get("connection", "").lower() == "close"


class _Lines:
    """What a connection sends, line by line. TimeoutError for who takes longer over a request than there is patience,
    however many bytes are sent meanwhile."""

    def __init__(self, connection: socket.socket, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._rest = b""
        self.renew()

    def renew(self) -> None:
        """A request is over: there is time for the answer, and for the next one."""
        self._until = time.monotonic() + self._patience
        self._connection.settimeout(self._patience)

    def readline(self, most: int) -> bytes:
        """Up to the end of a line, or as much as it may have. Nothing at the end."""
        while b"\n" not in self._rest and len(self._rest) < most:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            chunk = self._connection.recv(4096)
            if not chunk:
                break
            self._rest += chunk
        end = min(self._rest.find(b"\n") + 1 or len(self._rest), most)
        line, self._rest = self._rest[:end], self._rest[end:]
        return line


def read_request(readline: Callable[[int], bytes]) -> Request | None:
    """The head of a request; None at the end of the connection, or of patience."""
    left = _MAX_HEAD
    lines: list[str] = []
    while left > 0:
        line = readline(left)
        left -= len(line)
        if not line:
            return None
        text = line.decode("latin-1").rstrip("\r\n")
        if not text and lines:
            break
        if text:
            lines.append(text)
    words = lines[0].split(" ") if lines else []
    if len(words) != 3 or not words[2].startswith("HTTP/") or left <= 0:
        return Request(method="?", path="?", headers={})
    headers = {}
    for each in lines[1:]:
        name, _, value = each.partition(":")
        headers[name.strip().lower()] = value.strip()
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Request(method=words[0], path=words[1].partition("?")[0], headers=headers)


def answer(request: Request, metadata: Metadata, *, now: int) -> Answer:
    """What EC2 answers."""
    if request.method == "?":
        return Answer(status=HTTPStatus.BAD_REQUEST)
    if not metadata.on:
        return Answer(status=HTTPStatus.FORBIDDEN)
    if request.method == "PUT":
        return _token(request, metadata, now)
    if request.method not in ("GET", "HEAD") or request.path == TOKEN_PATH:
        return Answer(status=HTTPStatus.METHOD_NOT_ALLOWED)
    token = request.headers.get(_TOKEN)
    if (token is None and metadata.token_required) or (token is not None and not _holds(token, metadata, now)):
        return Answer(status=HTTPStatus.UNAUTHORIZED)
    found = lookup(request.path, metadata.values)
    return Answer(status=HTTPStatus.NOT_FOUND) if found is None else Answer(status=HTTPStatus.OK, body=found)


def lookup(path: str, values: Mapping[str, bytes]) -> bytes | None:
    """A leaf's value, or the names in a list."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "\n".join(VERSIONS).encode()
    if parts[0] not in VERSIONS:
        return None
    wanted = "/".join(parts[1:])
    if wanted in values:
        return values[wanted]
    names = list(_names(wanted, values))
    return "\n".join(names).encode() if names else None


def _names(wanted: str, values: Mapping[str, bytes]) -> Iterator[str]:
    """What is directly below a path. Public keys are listed as EC2 does it: 0=name; and at the top there are no "/"."""
    prefix = f"{wanted}/" if wanted else ""
    children: dict[str, bool] = {}
    for path in sorted(values):
        if path.startswith(prefix):
            name, slash, _ = path[len(prefix) :].partition("/")
            children[name] = children.get(name, False) or bool(slash)
    for name, is_list in children.items():
        if wanted == "meta-data/public-keys":
            yield f"{name}={_key_name(values, name)}"
        else:
            yield f"{name}/" if is_list and wanted else name


def _key_name(values: Mapping[str, bytes], index: str) -> str:
    """The key pair's name: EC2 writes it after the key itself."""
    words = values.get(f"meta-data/public-keys/{index}/openssh-key", b"").decode(errors="replace").split(maxsplit=2)
    return words[2] if len(words) > 2 else "my-key"


def _token(request: Request, metadata: Metadata, now: int) -> Answer:
    seconds = request.headers.get(_TTL, "")
    if request.path != TOKEN_PATH:
        return Answer(status=HTTPStatus.METHOD_NOT_ALLOWED)
    if "x-forwarded-for" in request.headers:
        return Answer(status=HTTPStatus.FORBIDDEN)
    if not (seconds.isascii() and seconds.isdecimal() and 1 <= int(seconds[:6]) <= _MAX_SECONDS):
        return Answer(status=HTTPStatus.BAD_REQUEST)
    until = now + int(seconds)
    token = base64.urlsafe_b64encode(until.to_bytes(8, "big") + _seal(metadata, until)).decode()
    return Answer(status=HTTPStatus.OK, body=token.encode(), headers=((_TTL, seconds),))


def _holds(token: str, metadata: Metadata, now: int) -> bool:
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
    except ValueError:
        return False
    until = int.from_bytes(raw[:8], "big")
    return len(raw) == 40 and hmac.compare_digest(raw[8:], _seal(metadata, until)) and now < until


def _seal(metadata: Metadata, until: int) -> bytes:
    return hmac.new(metadata.secret, until.to_bytes(8, "big"), hashlib.sha256).digest()


def format_answer(found: Answer, *, head: bool, last: bool) -> bytes:
    body = found.body or (b"" if found.status == HTTPStatus.OK else f"{found.status.phrase}\n".encode())
    lines = [
        f"HTTP/1.1 {found.status.value} {found.status.phrase}",
        "Server: EC2ws",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        f"Connection: {'close' if last else 'keep-alive'}",
        *(f"{name}: {value}" for name, value in found.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head else body)
