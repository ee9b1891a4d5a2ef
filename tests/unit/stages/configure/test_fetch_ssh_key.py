"""The first-boot script, run for real against a small metadata service."""

import os
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[4] / "builder/stages/configure/fetch-ssh-key.sh"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8vV0y1 launch key"
BUILT_IN = "ssh-rsa AAAAB3NzaC1yc2E built in"


@dataclass
class Metadata:
    """How the service behaves, and what it was asked."""

    key: bytes | None = KEY.encode() + b"\n"
    instance: bytes = b"i-0123abcd"
    version_1: bool = True
    version_2: bool = True
    token: bytes = b"AQAAAtoken=="
    slow: float = 0
    fails: int = 0
    off: bool = False
    """As with HttpEndpoint=disabled: everything is forbidden."""
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str | None) -> tuple[int, bytes]:
        time.sleep(self.slow)
        self.asked.append(f"{method} {path}{' with token' if token else ''}")
        if self.off:
            return 403, b"<html>forbidden</html>"
        if self.fails:
            self.fails -= 1
            return 503, b"<html>busy</html>"
        if method == "PUT":
            return (200, self.token) if self.version_2 else (404, b"<html>not found</html>")
        if not self.version_1 and token != self.token.decode():
            return 401, b""
        if path == "/latest/meta-data/instance-id":
            return 200, self.instance
        if path == "/latest/meta-data/public-keys/0/openssh-key" and self.key is not None:
            return 200, self.key
        return 404, b"<html>not found</html>"


@contextmanager
def served(metadata: Metadata) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            status, body = metadata.answer(self.command, self.path, self.headers.get("X-aws-ec2-metadata-token"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = reply
        do_PUT = reply

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """curl hangs up on what is too large. Nothing is said of it: to print a traceback, a thread parses Python,
            and CPython 3.11 takes no two of those at once ("AST constructor recursion depth mismatch")."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    (tmp_path / "guest/root").mkdir(parents=True)
    return tmp_path / "guest"


def fetch(guest: Path, address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"AMI_FACTORY_PAUSE": "0", "AMI_FACTORY_TRIES": "3", "AMI_FACTORY_PATIENCE": "2", **environment}
    return subprocess.run(
        ["sh", SCRIPT],
        env={"PATH": os.environ["PATH"], "AMI_FACTORY_METADATA": address, "AMI_FACTORY_ROOT": str(guest), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def keys(guest: Path) -> list[str]:
    path = guest / "root/.ssh/authorized_keys"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param(Metadata(), [KEY], id="both"),
        pytest.param(Metadata(version_1=False), [KEY], id="version-2-only"),
        pytest.param(Metadata(version_2=False), [KEY], id="version-1-only"),
        pytest.param(Metadata(token=b"<html>what?</html>"), [KEY], id="token-is-garbage"),
        pytest.param(Metadata(key=KEY.encode() + b"\r\n"), [KEY], id="crlf"),
        pytest.param(Metadata(key=KEY.encode()), [KEY], id="no-newline"),
        pytest.param(Metadata(key=f"{KEY}\n{BUILT_IN}\n".encode()), [KEY, BUILT_IN], id="two-keys"),
        pytest.param(Metadata(key=None), [], id="launched-without-a-key"),
        pytest.param(Metadata(fails=4), [KEY], id="busy-at-first"),
    ],
)
def test_succeeds(guest: Path, metadata: Metadata, expected: list[str]) -> None:
    with served(metadata) as address:
        done = fetch(guest, address)
    assert (done.returncode, keys(guest)) == (0, expected), done.stderr
    assert (guest / "var/lib/ami-factory/ssh-key-instance").read_text() == "i-0123abcd\n"


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        pytest.param(Metadata(key=b"<html>login</html>"), "not a public key", id="markup"),
        pytest.param(Metadata(key=b'command="evil" ' + KEY.encode()), "not a public key", id="options"),
        pytest.param(Metadata(key=b"ssh-ed25519 $(touch /tmp/x)"), "not a public key", id="shell"),
        pytest.param(Metadata(key=b""), "not a public key", id="empty"),
        pytest.param(Metadata(key=KEY.encode() + b" " + b"x" * 100_000), "HTTP status 000", id="huge"),
        pytest.param(Metadata(instance=b"../../etc"), "not an id", id="instance-id"),
        pytest.param(Metadata(fails=100), "HTTP status 503", id="busy"),
    ],
)
def test_gives_up_and_writes_nothing(guest: Path, metadata: Metadata, says: str) -> None:
    with served(metadata) as address:
        done = fetch(guest, address)
    assert done.returncode == 1
    assert says in done.stderr
    assert "no key after 3 tries" in done.stderr
    assert keys(guest) == []
    assert not (guest / "var/lib").exists()


def test_a_service_that_is_switched_off_holds_nothing_up(guest: Path) -> None:
    metadata = Metadata(off=True)
    with served(metadata) as address:
        done = fetch(guest, address)
    assert (done.returncode, done.stderr) == (0, "fetch-ssh-key: the metadata service is switched off\n")
    assert (keys(guest), (guest / "var/lib").exists()) == ([], False)
    assert len(metadata.asked) == 3


def test_asks_with_the_token_for_everything(guest: Path) -> None:
    metadata = Metadata()
    with served(metadata) as address:
        fetch(guest, address)
    assert metadata.asked == [
        "PUT /latest/api/token",
        "GET /latest/meta-data/instance-id with token",
        "GET /latest/meta-data/public-keys/0/openssh-key with token",
    ]


def test_once_for_each_instance_and_after_what_is_there(guest: Path) -> None:
    ssh = guest / "root/.ssh"
    ssh.mkdir(mode=0o755)
    (ssh / "authorized_keys").write_text(BUILT_IN)  # without a newline at its end
    metadata = Metadata()
    with served(metadata) as address:
        fetch(guest, address)
        assert keys(guest) == [BUILT_IN, KEY]
        (ssh / "authorized_keys").write_text(f"{BUILT_IN}\n")  # its owner took the key away again
        assert "served before" in fetch(guest, address).stderr
        assert keys(guest) == [BUILT_IN]
        metadata.instance = b"i-fffffff0"  # an AMI made of that instance
        fetch(guest, address)
        fetch(guest, address)
    assert keys(guest) == [BUILT_IN, KEY]
    assert stat.S_IMODE(ssh.stat().st_mode) == 0o700
    assert stat.S_IMODE((ssh / "authorized_keys").stat().st_mode) == 0o600
    assert [path.name for path in ssh.iterdir()] == ["authorized_keys"]


def test_a_service_that_does_not_answer_costs_its_patience_only(guest: Path) -> None:
    started = time.monotonic()
    with served(Metadata(slow=3)) as address:
        done = fetch(guest, address, AMI_FACTORY_PATIENCE="0.2", AMI_FACTORY_TRIES="2")
    assert (done.returncode, keys(guest)) == (1, [])
    assert time.monotonic() - started < 4
    assert fetch(guest, "http://127.0.0.1:1").returncode == 1


def test_a_home_that_cannot_be_written_to_is_not_tried_again(guest: Path) -> None:
    (guest / "root/.ssh").write_text("a file")
    metadata = Metadata()
    with served(metadata) as address:
        done = fetch(guest, address)
    assert done.returncode == 1
    assert "cannot write under" in done.stderr
    assert len(metadata.asked) == 3
