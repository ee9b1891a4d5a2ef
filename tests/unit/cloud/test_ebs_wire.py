"""What the wire uses of botocore beyond its documentation: signatures as its own, and connections that refuse."""

import base64
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore import auth as botocore_auth
from botocore import exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from builder.cloud import ebs_wire, session
from builder.cloud.ebs_wire import Wire, signed
from builder.cloud.patience import Damaged
from builder.formats.blocks import BLOCK_SIZE
from builder.stages.contract import Surroundings

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
DATA = bytes(range(256)) * (BLOCK_SIZE // 256)
DIGEST = hashlib.sha256(DATA).hexdigest()
CHECKSUM = base64.b64encode(hashlib.sha256(DATA).digest()).decode()


@pytest.mark.parametrize("token", [None, "a/token+of=STS"])
@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("PUT", "/snapshots/snap-0a1/blocks/17", {"x-amz-checksum": CHECKSUM, "x-amz-data-length": "524288"}),
        ("GET", "/snapshots/snap-0a1/blocks/17?blockToken=AAUBAb%2Bz%2F0g%3D%3D", {}),
    ],
)
def test_a_signature_is_the_one_that_botocore_makes(
    token: str | None, method: str, target: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(botocore_auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))
    monkeypatch.setattr(ebs_wire.time, "gmtime", NOW.timetuple)
    headers = {**headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    signer = SigV4Auth(ReadOnlyCredentials("AKIDEXAMPLE", "secret", token), "ebs", "eu-west-1")
    request = AWSRequest(method, f"https://ebs.eu-west-1.amazonaws.com{target}", headers)
    signer.add_auth(request)
    ours = signed(signer, method, "ebs.eu-west-1.amazonaws.com", target, headers)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


def test_without_credentials() -> None:
    with pytest.raises(exceptions.NoCredentialsError):
        signed(SigV4Auth(None, "ebs", "eu-west-1"), "GET", "host", "/", {})


Reply = Callable[["Server"], None]


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    reply: Reply
    seen: list[tuple[str, str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, dict(self.headers.items()), body))
        type(self).reply(self)

    do_PUT = do_GET

    def say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None: ...


@contextmanager
def answering(reply: Reply, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[Any]]]:
    handler = type("Handler", (Server,), {"reply": staticmethod(reply), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        scheme = "https" if tls else "http"
        yield f"{scheme}://localhost:{server.server_port}", handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def wire(url: str, path: Path) -> Wire:
    return Wire(session.client("ebs", Surroundings(state=path, cache=path, trees=path, endpoint_url=url), "local"))


def taken(server: Server) -> None:
    server.say(201, {"x-amz-Checksum": CHECKSUM, "x-amz-Checksum-Algorithm": "SHA256"})


def test_a_put(tmp_path: Path) -> None:
    with answering(taken) as (url, seen):
        line = wire(url, tmp_path)
        line.put("snap-0a1", 17, DATA, DIGEST)
        line.put("snap-0a1", 18, DATA, DIGEST)
    (method, path, headers, body), second = seen
    assert (method, path, body) == ("PUT", "/snapshots/snap-0a1/blocks/17", DATA)
    assert second[1] == "/snapshots/snap-0a1/blocks/18"
    said = {name.lower(): value for name, value in headers.items()}
    assert said["x-amz-checksum"] == CHECKSUM
    assert (said["x-amz-checksum-algorithm"], said["x-amz-data-length"]) == ("SHA256", str(BLOCK_SIZE))
    assert (said["content-length"], said["host"]) == (str(BLOCK_SIZE), url.removeprefix("http://"))
    assert said["user-agent"].startswith("ami-factory/")
    assert said["authorization"].startswith("AWS4-HMAC-SHA256 Credential=local/")


def test_an_echo_that_is_wrong(tmp_path: Path) -> None:
    with (
        answering(lambda server: server.say(201, {"x-amz-Checksum": "other"})) as (url, _),
        pytest.raises(Damaged, match="the checksum other for block 17"),
    ):
        wire(url, tmp_path).put("snap-0a1", 17, DATA, DIGEST)


def test_a_get(tmp_path: Path) -> None:
    with answering(lambda server: server.say(200, {"x-amz-Checksum": CHECKSUM}, DATA)) as (url, seen):
        assert wire(url, tmp_path).get("snap-0a1", 17, "a+b/c=") == DATA
    assert seen[0][:2] == ("GET", "/snapshots/snap-0a1/blocks/17?blockToken=a%2Bb%2Fc%3D")


@pytest.mark.parametrize("body", [DATA[:-1], bytes(BLOCK_SIZE)], ids=["short", "other"])
def test_a_get_that_is_damaged(tmp_path: Path, body: bytes) -> None:
    with (
        answering(lambda server: server.say(200, {"x-amz-Checksum": CHECKSUM}, body)) as (url, _),
        pytest.raises(Damaged, match="block 17 of snap-0a1 arrived otherwise"),
    ):
        wire(url, tmp_path).get("snap-0a1", 17, "token")


def test_a_refusal_is_botocores_own(tmp_path: Path) -> None:
    def refuse(server: Server) -> None:
        body = b'{"Message": "No such snapshot", "Reason": "SNAPSHOT_NOT_FOUND"}'
        server.say(404, {"x-amzn-errortype": "ResourceNotFoundException", "Content-Type": "application/json"}, body)

    with answering(refuse) as (url, _):
        line = wire(url, tmp_path)
        with pytest.raises(line.client.exceptions.ResourceNotFoundException) as caught:
            line.put("snap-0a1", 17, DATA, DIGEST)
    assert caught.value.response["Error"] == {"Code": "ResourceNotFoundException", "Message": "No such snapshot"}
    assert caught.value.response["Reason"] == "SNAPSHOT_NOT_FOUND"
    assert caught.value.operation_name == "PutSnapshotBlock"


def test_an_answer_before_the_body_is_read(tmp_path: Path) -> None:
    """A refusal may come at once, and the connection be closed on what is still being sent."""

    def refuse(server: Server) -> None:
        server.say(403, {"x-amzn-errortype": "AccessDeniedException", "Connection": "close"}, b"{}")

    class Hasty(Server):
        def do_PUT(self) -> None:
            refuse(self)
            self.close_connection = True

    handler = type("Handler", (Hasty,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        line = wire(f"http://127.0.0.1:{server.server_port}", tmp_path)
        with pytest.raises((exceptions.ClientError, exceptions.ConnectionClosedError)):
            line.put("snap-0a1", 17, DATA, DIGEST)
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(exceptions.EndpointConnectionError):
        wire("http://127.0.0.1:1", tmp_path).put("snap-0a1", 17, DATA, DIGEST)


def test_a_connection_that_is_cut(tmp_path: Path) -> None:
    with (
        answering(lambda server: server.connection.shutdown(socket.SHUT_RDWR)) as (url, _),
        pytest.raises(exceptions.ConnectionClosedError),
    ):
        wire(url, tmp_path).put("snap-0a1", 17, DATA, DIGEST)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of localhost, signed by itself; its key is beside it."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "certificate.pem").write_bytes(made.public_bytes(pem))
    return tmp_path / "certificate.pem"


@pytest.mark.parametrize("known", [True, False])
def test_certificates_are_held_as_botocore_holds_them(
    known: bool, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
    if known:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    surroundings = Surroundings(state=tmp_path, cache=tmp_path, trees=tmp_path, endpoint_url=None)
    with answering(taken, tls) as (url, seen):
        surroundings = Surroundings(state=tmp_path, cache=tmp_path, trees=tmp_path, endpoint_url=url)
        line = Wire(session.client("ebs", surroundings, "us-east-1"))
        if known:
            line.put("snap-0a1", 17, DATA, DIGEST)
        else:
            with pytest.raises(exceptions.SSLError):
                line.put("snap-0a1", 17, DATA, DIGEST)
    assert len(seen) == known


def test_a_proxy_is_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(taken) as (proxy, seen):
        monkeypatch.setenv("http_proxy", proxy)
        surroundings = Surroundings(state=tmp_path, cache=tmp_path, trees=tmp_path, endpoint_url="http://ebs.example")
        Wire(session.client("ebs", surroundings, "us-east-1")).put("snap-0a1", 17, DATA, DIGEST)
    assert [each[:2] for each in seen] == [("PUT", "http://ebs.example/snapshots/snap-0a1/blocks/17")]
    assert seen[0][3] == DATA
