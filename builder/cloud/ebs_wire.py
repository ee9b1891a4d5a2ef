"""Blocks of snapshots on the wire, as cheaply as may be: an upload makes thousands of these requests.

A call of botocore's client takes 2.5 ms of processor time for a block, of which the block itself takes 0.3: parameters
are held against the model, hooks are called, headers are parsed as mail, and over plain HTTP the body is hashed once
more. Here only what matters is done, and the parts that matter are botocore's own: its credentials and its signer's
texts, its endpoint, the connections of its pool (so its certificates and timeouts), its parser of errors. The
digest of a block is in a header that is signed, and the region holds what arrives against it, so the body itself need
not be signed (the service model says unsignedPayload).

What is used of botocore beyond its documentation is held by tests/unit/cloud/test_ebs_wire.py: signatures are compared
with those of its own SigV4Auth, and connections with what they must refuse.
"""

import base64
import functools
import hashlib
import hmac
import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3.exceptions
from botocore import exceptions
from botocore.auth import SigV4Auth
from botocore.parsers import create_parser

from builder.cloud.errors import Client
from builder.cloud.patience import Damaged
from builder.formats.blocks import BLOCK_SIZE

ALGORITHM = "SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_READ_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the headers' names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Moment:
    """What botocore's signer wants to know of a request."""

    context: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Request:
    """What botocore's sessions want to know of a request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    stream_output: bool = False
    context: None = None


class Wire:
    """Puts and gets blocks with what a botocore client has. Safe to share between threads.

    Errors are botocore's: ClientError for what the region refuses, HTTPClientError and its kin for what the network
    does. Damaged when what arrived is not what was sent. Nothing is tried twice here.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._signer = client._request_signer
        self._agent = client._client_config.user_agent
        self._parser = create_parser(client.meta.service_model.resolved_protocol)
        self._lines = _Lines(client)

    def put(self, snapshot: str, index: int, data: bytes, digest: str) -> None:
        """PutSnapshotBlock. `digest` is the SHA-256 of `data` in hex; the region's own must be equal."""
        checksum = base64.b64encode(bytes.fromhex(digest)).decode("ascii")
        headers = {
            "x-amz-checksum": checksum,
            "x-amz-checksum-algorithm": ALGORITHM,
            "x-amz-content-sha256": _UNSIGNED,
            "x-amz-data-length": str(len(data)),
        }
        answer = self._ask("PutSnapshotBlock", "PUT", f"/snapshots/{snapshot}/blocks/{index}", headers, data)
        echoed = answer.headers.get("x-amz-checksum")
        if echoed != checksum:
            raise Damaged(f"the region answers with the checksum {echoed} for block {index}, and {checksum} was sent")

    def get(self, snapshot: str, index: int, token: str) -> bytes:
        """GetSnapshotBlock: the bytes, whose checksum is right."""
        path = f"/snapshots/{snapshot}/blocks/{index}?blockToken={quote(token, safe='-_.~')}"
        answer = self._ask("GetSnapshotBlock", "GET", path, {"x-amz-content-sha256": _UNSIGNED}, None)
        checksum = base64.b64encode(hashlib.sha256(answer.body).digest()).decode("ascii")
        if len(answer.body) != BLOCK_SIZE or answer.headers.get("x-amz-checksum") != checksum:
            raise Damaged(f"block {index} of {snapshot} arrived otherwise than it was sent: {len(answer.body)} bytes")
        return answer.body

    def _ask(self, operation: str, method: str, target: str, headers: dict[str, str], body: bytes | None) -> Answer:
        signer = self._signer
        auth = signer.get_auth_instance(signer.signing_name, signer.region_name, "v4")
        sent = signed(auth, method, self._lines.host, self._lines.path + target, headers)
        sent["User-Agent"] = self._agent
        if body is not None:
            sent["Content-Length"] = str(len(body))
        answer = self._lines.send(method, self._lines.path + target, sent, body)
        if answer.status >= 300:
            raise self._refused(operation, answer)
        return answer

    def _refused(self, operation: str, answer: Answer) -> Exception:
        told = {"headers": answer.headers, "status_code": answer.status, "body": answer.body}
        model = self.client.meta.service_model.operation_model(operation)
        parsed = self._parser.parse(told, model.output_shape)
        code = parsed.get("Error", {}).get("Code")
        shape = model.service_model.shape_for_error_code(code)
        if shape is not None:
            parsed = {**self._parser.parse(told, shape), **parsed}  # with the members of its own, such as Reason
        kind = self.client.exceptions.from_code(code)
        refused: Exception = kind(parsed, operation)
        return refused


def signed(auth: SigV4Auth, method: str, host: str, target: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with a signature of version 4 over all of them, the host and the target, but not the body.

    Names of headers in lower case; the target's path and its query as they go over the wire, quoted, the query of one
    parameter at most. Of the signature only the text that is signed is put together here.
    """
    if auth.credentials is None:
        raise exceptions.NoCredentialsError
    now = _Moment({"timestamp": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())})
    sent = {**headers, "host": host, "x-amz-date": now.context["timestamp"]}
    if auth.credentials.token:
        sent["x-amz-security-token"] = auth.credentials.token
    path, _, query = target.partition("?")
    names = sorted(sent)
    canonical = [method, path, query, *(f"{name}:{sent[name]}" for name in names), "", ";".join(names), _UNSIGNED]
    scope = auth.scope(now)  # type: ignore[arg-type]
    key = _key(auth.credentials.secret_key, *scope.rsplit("/", 4)[1:])
    text = auth.string_to_sign(now, "\n".join(canonical))  # type: ignore[arg-type]
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return sent


@functools.lru_cache(maxsize=8)
def _key(secret: str, *scope: str) -> bytes:
    """Of signatures of a day, a region and a service: four fifths of the work, and the same for all of an upload."""
    key = f"AWS4{secret}".encode()
    for each in scope:
        key = hmac.digest(key, each.encode(), "sha256")
    return key


class _Lines:
    """Connections to a client's endpoint, one for each thread, kept open. They are those that botocore makes; where a
    proxy stands between, requests go through botocore altogether."""

    def __init__(self, client: Client) -> None:
        url = client.meta.endpoint_url.rstrip("/")
        parts = urlsplit(url)
        self.host, self.path = parts.netloc, parts.path
        self._url = url
        self._origin = f"{parts.scheme}://{parts.netloc}"
        session = client._endpoint.http_session
        self._through = session.send if session._proxy_config.proxy_url_for(url) else None
        self._pool = session._get_connection_manager(url, None).connection_from_url(url)
        session._setup_ssl_cert(self._pool, url, session._verify)
        self._own = threading.local()

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Ask once. Errors of the network are botocore's, as is what tells them apart."""
        if self._through is not None:
            found = self._through(_Request(method, self._origin + target, headers, body))
            return Answer(found.status_code, found.headers, found.content)
        line = getattr(self._own, "line", None)
        if line is None:
            line = self._own.line = self._pool._new_conn()
        try:
            return _sent(line, method, target, headers, body)
        except BaseException as error:
            line.close()
            known = self._known(error)
            if known is None:
                raise
            raise known from error

    def _known(self, error: BaseException) -> Exception | None:
        where: Any = {"endpoint_url": self._url, "error": error}
        if isinstance(error, urllib3.exceptions.NewConnectionError):  # which is a ConnectTimeoutError to urllib3
            return exceptions.EndpointConnectionError(**where)
        if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
            return exceptions.ConnectTimeoutError(**where)
        if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError):
            return exceptions.SSLError(**where)
        if isinstance(error, TimeoutError):
            return exceptions.ReadTimeoutError(**where)
        if isinstance(error, OSError | http.client.HTTPException):
            return exceptions.ConnectionClosedError(**where)
        return None


def _sent(line: Any, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    """Over a connection of botocore's pool, with the request and the answer of the standard library's own class: that
    of urllib3 costs more than the block."""
    plain = http.client.HTTPConnection
    if not line.sock:
        line.connect()
        line.sock.settimeout(_READ_TIMEOUT)
    plain.putrequest(line, method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        plain.putheader(line, name, value)
    try:
        line.endheaders()
        if body is not None:
            line.sock.sendall(body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a refusal may come before the body is read; when there is none, reading fails
    found = plain.getresponse(line)
    return Answer(found.status, found.headers, found.read())  # type: ignore[arg-type]
