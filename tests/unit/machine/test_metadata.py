"""What the metadata service answers."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import pytest

from builder.machine.metadata import (
    TOKEN_PATH,
    Answer,
    Metadata,
    Request,
    answer,
    format_answer,
    lookup,
    read_request,
    serve,
)
from builder.machine.metadata_socket import MOST, MetadataSocket

VALUES = {
    "meta-data/ami-id": b"ami-1",
    "meta-data/placement/availability-zone": b"local-1a",
    "meta-data/public-keys/0/openssh-key": b"ssh-ed25519 AAAA my-laptop",
    "user-data": b"\x00binary",
}
METADATA = Metadata(values=VALUES)
STRICT = Metadata(values=VALUES, token_required=True)


def get(path: str, metadata: Metadata = METADATA, now: int = 1000, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(Request(method="GET", path=path, headers=sent), metadata, now=now)


def put(seconds: str, path: str = TOKEN_PATH, metadata: Metadata = METADATA, forwarded: str = "") -> Answer:
    sent = {"x-aws-ec2-metadata-token-ttl-seconds": seconds}
    if forwarded:
        sent["x-forwarded-for"] = forwarded
    return answer(Request(method="PUT", path=path, headers=sent), metadata, now=1000)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/latest/meta-data/ami-id", b"ami-1"),
        ("/2008-02-01//meta-data/ami-id", b"ami-1"),
        ("/latest/meta-data", b"ami-id\nplacement/\npublic-keys/"),
        ("/latest/meta-data/", b"ami-id\nplacement/\npublic-keys/"),
        ("/latest/meta-data/placement/", b"availability-zone"),
        ("/latest/meta-data/public-keys/", b"0=my-laptop"),
        ("/latest/meta-data/public-keys/0/", b"openssh-key"),
        ("/latest/user-data", b"\x00binary"),
        ("/latest", b"meta-data\nuser-data"),
        ("/latest/meta-data/ami", None),
        ("/latest/meta-data/ami-id/x", None),
        ("/1999-01-01/meta-data/ami-id", None),
        ("/../latest/user-data", None),
    ],
)
def test_lookup(path: str, expected: bytes | None) -> None:
    assert lookup(path, VALUES) == expected


def test_versions() -> None:
    found = lookup("/", VALUES)
    assert found is not None
    assert (found.splitlines()[0], found.splitlines()[-1]) == (b"1.0", b"latest")


def test_a_token_opens_what_is_closed_without_one_until_its_time_is_over() -> None:
    token = put("60", metadata=STRICT).body.decode()
    path = "/latest/meta-data/ami-id"
    assert [
        get(path, STRICT).status,
        get(path, STRICT, x_aws_ec2_metadata_token=token).body,
        get(path, STRICT, now=1060, x_aws_ec2_metadata_token=token).status,
        get(path, Metadata(values=VALUES), x_aws_ec2_metadata_token=token).status,
        get(path, METADATA, x_aws_ec2_metadata_token="!").status,
    ] == [
        HTTPStatus.UNAUTHORIZED,
        b"ami-1",
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.UNAUTHORIZED,
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [("1", 200), ("21600", 200), ("0", 400), ("21601", 400), ("-1", 400), ("", 400), ("٣", 400), ("9" * 40, 400)],
)
def test_the_life_time_of_a_token(seconds: str, expected: int) -> None:
    assert put(seconds).status.value == expected


def test_a_token_is_not_for_who_comes_through_a_proxy() -> None:
    assert put("60", forwarded="10.0.0.1").status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
def test_other_methods(method: str) -> None:
    request = Request(method=method, path="/latest/user-data", headers={})
    assert answer(request, METADATA, now=0).status == HTTPStatus.METHOD_NOT_ALLOWED
    assert put("60", "/latest/user-data").status == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", None),
        (b"GET / HTTP/1.1\r\nHo", None),
        (
            b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-A:b\r\n\r\n",
            Request(method="GET", path="/a", headers={"host": "x", "x-a": "b"}),
        ),
        (b"GET / HTTP/1.0\r\n\r\n", Request(method="GET", path="/", headers={"connection": "close"})),
        (b"nonsense\r\n\r\n", Request(method="?", path="?", headers={})),
        (b"GET / FTP\r\n\r\n", Request(method="?", path="?", headers={})),
        (b"\r\n" * 10000, Request(method="?", path="?", headers={})),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 20000 + b"\r\n\r\n", Request(method="?", path="?", headers={})),
    ],
    ids=["end", "cut", "good", "old", "nonsense", "other", "blank", "long"],
)
def test_requests(data: bytes, expected: Request | None) -> None:
    assert read_request(io.BytesIO(data).readline) == expected


def test_answers() -> None:
    ok = format_answer(Answer(status=HTTPStatus.OK, body=b"x"), head=False, last=True)
    assert ok == (
        b"HTTP/1.1 200 OK\r\nServer: EC2ws\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n"
        b"Connection: close\r\n\r\nx"
    )
    assert format_answer(Answer(status=HTTPStatus.OK, body=b"x"), head=True, last=False).endswith(
        b"Content-Length: 1\r\nConnection: keep-alive\r\n\r\n"
    )


def test_a_service_that_is_turned_off() -> None:
    off = Metadata(values=VALUES, on=False)
    assert (get("/latest/meta-data/ami-id", off).status, put("60", metadata=off).status) == (
        HTTPStatus.FORBIDDEN, HTTPStatus.FORBIDDEN,
    )  # fmt: skip


def test_a_token_is_put_and_not_got() -> None:
    assert get(TOKEN_PATH).status == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_key_name_of_several_words() -> None:
    values = {"meta-data/public-keys/0/openssh-key": b"ssh-ed25519 AAAA my old laptop"}
    assert lookup("/latest/meta-data/public-keys/", values) == b"0=my old laptop"


@contextmanager
def connected(patience: float = 5.0) -> Iterator[tuple[socket.socket, list[str]]]:
    """A guest's end of a connection that is served, and what was logged."""
    here, there = socket.socketpair()
    logged: list[str] = []

    def run() -> None:
        with there:
            serve(there, METADATA, logged.append, patience=patience)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with here:
            here.settimeout(10)
            yield here, logged
    finally:
        thread.join(10)
        assert not thread.is_alive()


def received(peer: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    found = b""
    with suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            found += chunk
    return found


ASK = b"GET /latest/meta-data/ami-id HTTP/1.1\r\n%s\r\n"


def test_several_requests_on_one_connection() -> None:
    with connected() as (peer, logged):
        peer.sendall(ASK % b"" * 2 + b"HEAD /latest/user-data HTTP/1.1\r\nConnection: close\r\n\r\n")
        answers = received(peer).split(b"HTTP/1.1 ")[1:]
    assert [each.partition(b"\r\n")[0] for each in answers] == [b"200 OK"] * 3
    assert [each.partition(b"\r\n\r\n")[2] for each in answers] == [b"ami-1", b"ami-1", b""]
    assert logged[-1] == "HEAD /latest/user-data 200"


@pytest.mark.parametrize(
    "head", [b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n"], ids=["length", "chunked"]
)
def test_a_body_is_not_taken_for_requests(head: bytes) -> None:
    with connected() as (peer, logged):
        peer.sendall(ASK % head + ASK % b"")
        assert received(peer).count(b"200 OK") == 1
    assert logged == ["GET /latest/meta-data/ami-id 200"]


def test_a_line_without_end() -> None:
    with connected() as (peer, _):
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                peer.sendall(b"x" * 1000)
        assert received(peer).startswith(b"HTTP/1.1 400 ")


def test_who_sends_a_byte_now_and_then_is_not_waited_for() -> None:
    with connected(patience=0.3) as (peer, logged):
        start = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < start + 5:
                peer.sendall(b"x")
                time.sleep(0.05)
        assert (received(peer), logged) == (b"", [])
        assert time.monotonic() < start + 3


def test_what_is_logged_is_one_line_of_text() -> None:
    with connected() as (peer, logged):
        peer.sendall(b"GET /\x1b[2J\x85" + b"y" * 1000 + b" HTTP/1.0\r\n\r\n")
        received(peer)
    assert logged == [f"GET {('/?[2J?' + 'y' * 1000)[:197]}... 404"]


def test_a_guest_has_so_many_connections(tmp_path: Path) -> None:
    """Of those beyond, each is closed unanswered; another guest's are not touched."""
    done = threading.Event()
    taken: list[int] = []

    def hold(slot: int, connection: socket.socket) -> None:
        taken.append(slot)
        connection.sendall(b"hello")
        done.wait(10)

    def connect(slot: int) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(10)
        made.connect(str(tmp_path / "metadata"))
        made.sendall(b"%d\n" % slot)
        return made

    listening = MetadataSocket(tmp_path, hold)
    try:
        kept = [connect(1) for _ in range(MOST)]
        assert [each.recv(5) for each in kept] == [b"hello"] * MOST
        with connect(1) as refused, connect(2) as other:
            assert (refused.recv(5), other.recv(5)) == (b"", b"hello")
        assert sorted(taken) == [1] * MOST + [2]
        done.set()
        for each in kept:
            assert each.recv(5) == b""
            each.close()
        with connect(1) as again:
            assert again.recv(5) == b"hello"
    finally:
        done.set()
        listening.close()


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(METADATA)
