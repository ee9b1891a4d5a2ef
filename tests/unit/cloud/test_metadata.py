"""The metadata service: version 2 first, version 1 where there is no other, and clear words where there is none."""

import socket

import pytest

from builder.cloud.metadata import InstanceMetadata
from builder.errors import HostError
from tests.support.metadata import metadata_service

VALUES = {"ami-id": "ami-00000001\n", "kernel-id": "aki-919dcaf8"}


def at(address: str, **more: str) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": address, "AWS_METADATA_SERVICE_TIMEOUT": "5", **more}


def test_version_2() -> None:
    with metadata_service(VALUES, required=True) as (address, asked):
        metadata = InstanceMetadata(at(address + "/"))
        assert [metadata.get(name) for name in ("ami-id", "kernel-id", "ramdisk-id")] == [
            "ami-00000001",
            "aki-919dcaf8",
            None,
        ]
    assert asked == [
        "PUT /latest/api/token",
        "GET /latest/meta-data/ami-id with a token",
        "GET /latest/meta-data/kernel-id with a token",
        "GET /latest/meta-data/ramdisk-id with a token",
    ]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_version_1_where_there_is_no_other(status: int) -> None:
    with metadata_service(VALUES, token_status=status) as (address, asked):
        assert InstanceMetadata(at(address)).get("ami-id") == "ami-00000001"
    assert asked[-1] == "GET /latest/meta-data/ami-id"


def test_version_1_is_not_used_when_it_is_switched_off() -> None:
    with metadata_service(VALUES, token_status=404) as (address, _), pytest.raises(HostError, match="gives no token"):
        InstanceMetadata(at(address, AWS_EC2_METADATA_V1_DISABLED="true"))


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (500, 3)])
def test_a_service_that_refuses(status: int, tries: int) -> None:
    with metadata_service(VALUES, token_status=status) as (address, asked):
        with pytest.raises(HostError) as error:
            InstanceMetadata(at(address, AWS_METADATA_SERVICE_NUM_ATTEMPTS="3"))
        assert len(asked) == tries
        assert error.value.brief == (
            f"the instance metadata at {address} cannot be read: it answers {status} when asked for a token"
        )
    assert error.value.hint.startswith("say --no-inherit")


def test_a_token_that_is_not_taken() -> None:
    with metadata_service(VALUES, token_status=404, required=True) as (address, _):
        metadata = InstanceMetadata(at(address))
        with pytest.raises(HostError, match="it answers 401 when asked for ami-id"):
            metadata.get("ami-id")


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(HostError, match="Connection refused"):
        InstanceMetadata(at(address))


def test_nobody_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(HostError, match="timed out"):
            InstanceMetadata(
                at(address, AWS_METADATA_SERVICE_NUM_ATTEMPTS="1") | {"AWS_METADATA_SERVICE_TIMEOUT": "0.2"}
            )


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:x"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(HostError, match="cannot be read"):
        InstanceMetadata(at(address))


def test_switched_off() -> None:
    with pytest.raises(HostError, match="AWS_EC2_METADATA_DISABLED is set"):
        InstanceMetadata({"AWS_EC2_METADATA_DISABLED": "true"})
