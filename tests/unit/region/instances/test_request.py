"""Refusals of RunInstances that a client of today would not let through."""

import base64
from typing import Any

import pytest

from builder.region.ec2.instances.request import (
    check_shutdown,
    counts,
    decode_user_data,
    find_firmware,
    find_type,
    find_zone,
    metadata_options,
    refuse_unkept,
)
from builder.region.ec2.region import StoredImage
from builder.region.errors import ServiceError

OPTIONS = {"HttpTokens": "optional", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("aGVsbG8=", b"hello", id="plain"),
        pytest.param("aGVs\nbG8=\n", b"hello", id="in-lines"),
        pytest.param(base64.b64encode(bytes(16384)).decode(), bytes(16384), id="as-much-as-there-may-be"),
    ],
)
def test_user_data(text: str | None, expected: bytes | None) -> None:
    assert decode_user_data(text) == expected


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        pytest.param("#!/bin/sh", "Invalid BASE64 encoding of user data", id="not-encoded"),
        pytest.param("aGVsbG8", "Invalid BASE64 encoding of user data", id="cut"),
        pytest.param("häh=", "Invalid BASE64 encoding of user data", id="not-ascii"),
        pytest.param(base64.b64encode(bytes(16385)).decode(), "User data is limited to 16384 bytes", id="a-byte-more"),
    ],
)
def test_user_data_that_is_refused(text: str, saying: str) -> None:
    with pytest.raises(ServiceError) as caught:
        decode_user_data(text)
    assert (caught.value.code, saying in caught.value.message) == ("InvalidParameterValue", True)


@pytest.mark.parametrize(
    ("least", "most", "room", "expected"), [(1, 1, 5, 1), (1, 9, 5, 5), (5, 5, 5, 5), (2, 3, 16, 3)]
)
def test_counts(least: int, most: int, room: int, expected: int) -> None:
    assert counts({"MinCount": least, "MaxCount": most}, room) == expected


def test_zones() -> None:
    assert [find_zone({}), find_zone({"AvailabilityZoneId": "use1-az2"})] == ["us-east-1a", "us-east-1b"]
    assert find_zone({"AvailabilityZone": "us-east-1b", "Tenancy": "default", "GroupName": ""}) == "us-east-1b"


@pytest.mark.parametrize(
    ("placement", "code"),
    [
        ({"AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az2"}, "InvalidParameterCombination"),
        ({"AvailabilityZoneId": "use1-az9"}, "InvalidParameterValue"),
        ({"GroupName": "cluster"}, "UnsupportedOperation"),
    ],
)
def test_placements_that_are_refused(placement: dict[str, str], code: str) -> None:
    with pytest.raises(ServiceError) as caught:
        find_zone(placement)
    assert caught.value.code == code


def test_metadata_options_keep_what_is_not_said() -> None:
    assert metadata_options({"HttpTokens": "required"}, OPTIONS) == {**OPTIONS, "HttpTokens": "required"}
    assert metadata_options({}, OPTIONS) == OPTIONS


@pytest.mark.parametrize(
    "wanted",
    [
        {"SubnetId": "subnet-1"}, {"NetworkInterfaces": [{"DeviceIndex": 0}]}, {"IamInstanceProfile": {"Name": "x"}},
        {"EbsOptimized": True}, {"PrivateIpAddress": "10.0.0.9"}, {"LaunchTemplate": {"LaunchTemplateId": "lt-1"}},
    ],
)  # fmt: skip
def test_what_would_make_another_instance_of_it(wanted: dict[str, Any]) -> None:
    with pytest.raises(ServiceError) as caught:
        refuse_unkept({"ImageId": "ami-1", **wanted})
    assert (caught.value.code, next(iter(wanted)) in caught.value.message) == ("UnsupportedOperation", True)


def test_a_no_to_what_is_not_done_anyway() -> None:
    refuse_unkept(
        {"EbsOptimized": False, "Monitoring": {"Enabled": False}, "HibernationOptions": {"Configured": False}}
    )


def an_image(**record: Any) -> StoredImage:
    usual = {
        "ImageId": "ami-1",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceType": "ebs",
        "EnaSupport": True,
    }
    return StoredImage(record={**usual, **record}, state="available", tags={}, users=frozenset(), public=False)


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        pytest.param("t3.micro", "uefi-preferred", "uefi", id="nitro-prefers"),
        pytest.param("t3.micro", "legacy-bios", "bios", id="nitro-bios"),
        pytest.param("t3.micro", "", "bios", id="nitro-says-nothing"),
        pytest.param("t2.micro", "uefi-preferred", "bios", id="xen-has-none"),
    ],
)
def test_firmware(name: str, mode: str, expected: str) -> None:
    image = an_image(BootMode=mode)
    assert find_firmware(find_type({"InstanceType": name}, image), image) == expected


@pytest.mark.parametrize(
    ("name", "record", "saying"),
    [
        pytest.param("t2.micro", {"BootMode": "uefi"}, "The boot mode 'uefi'", id="uefi-without"),
        pytest.param("t3.micro", {"EnaSupport": False}, "Elastic Network Adapter", id="no-ena"),
        pytest.param("t3.micro", {"RootDeviceType": "instance-store"}, "instance-store root device", id="no-store"),
        pytest.param("t3.micro", {"VirtualizationType": "paravirtual"}, "'paravirtual'", id="paravirtual-image"),
    ],
)
def test_types_that_cannot_start_an_image(name: str, record: dict[str, Any], saying: str) -> None:
    image = an_image(**record)
    with pytest.raises(ServiceError) as caught:
        find_firmware(find_type({"InstanceType": name}, image), image)
    assert (caught.value.code, saying in caught.value.message) == ("InvalidParameterCombination", True)


def test_what_becomes_of_one_that_powers_off() -> None:
    assert [check_shutdown(None, volumes=True), check_shutdown("terminate", volumes=True)] == ["stop", "terminate"]
    assert check_shutdown(None, volumes=False) == "terminate"
    for behavior, volumes in (("stop", False), ("sleep", True)):
        with pytest.raises(ServiceError):
            check_shutdown(behavior, volumes=volumes)
