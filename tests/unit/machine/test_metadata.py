"""What the metadata service answers."""

import io
from http import HTTPStatus

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
)

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
        ("/latest", b"meta-data/\nuser-data"),
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
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 20000 + b"\r\n\r\n", Request(method="?", path="?", headers={})),
    ],
    ids=["end", "cut", "good", "old", "nonsense", "long"],
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


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(METADATA)
