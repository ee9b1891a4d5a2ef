from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from builder.cloud.ec2 import (
    Image,
    NameTaken,
    image_by_name,
    images_by_key,
    kernel_architecture,
    may_register,
    register_image,
    wait_available,
)
from builder.errors import RegionError

Stubbed = Callable[..., tuple[BaseClient, Stubber]]
KEYS = ("a" * 64, "b" * 64)


def answer(number: int, key: str = KEYS[0], state: str = "available", day: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "ImageId": f"ami-{number:08}",
        "Name": f"name {number}",
        "State": state,
        "ImageLocation": "bucket/key",
        "CreationDate": datetime(2026, 11, day, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "Tags": [{"Key": "Name", "Value": "x"}, {"Key": "ami-factory:key", "Value": key}],
        **more,
    }


def image(number: int, key: str = KEYS[0], day: int = 1, **more: Any) -> Image:
    values = {"id": f"ami-{number:08}", "name": f"name {number}", "state": "available", "location": "bucket/key"}
    return Image(**{**values, "created": f"2026-11-0{day}T00:00:00.000Z", "key": key, **more})


def by_key(*keys: str, **more: Any) -> dict[str, Any]:
    return {"Owners": ["self"], "Filters": [{"Name": "tag:ami-factory:key", "Values": list(keys)}], **more}


def test_one_question_for_all_keys(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    stub.add_response("describe_images", {"Images": [answer(1), answer(2, KEYS[1])]}, by_key(*KEYS))
    assert images_by_key(client, [KEYS[1], KEYS[0], KEYS[1]]) == {KEYS[0]: image(1), KEYS[1]: image(2, KEYS[1])}


def test_no_keys_no_question(stubbed: Stubbed) -> None:
    client, _ = stubbed("ec2")
    assert images_by_key(client, []) == {}


def test_the_oldest_available_counts(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    images = [answer(4, day=3), answer(3, day=2), answer(1, state="pending"), answer(2, state="failed")]
    stub.add_response("describe_images", {"Images": images}, by_key(KEYS[0]))
    assert images_by_key(client, KEYS[:1]) == {KEYS[0]: image(3, day=2)}


def test_more_keys_than_a_filter_takes(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    keys = [f"{number:064}" for number in range(201)]
    stub.add_response("describe_images", {"Images": []}, by_key(*keys[:200]))
    stub.add_response("describe_images", {"Images": [answer(1, keys[200])]}, by_key(keys[200]))
    assert images_by_key(client, keys) == {keys[200]: image(1, keys[200])}


def test_several_pages(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    stub.add_response("describe_images", {"Images": [answer(1)], "NextToken": "more"}, by_key(*KEYS))
    stub.add_response("describe_images", {"Images": [answer(2, KEYS[1])]}, by_key(*KEYS, NextToken="more"))
    assert images_by_key(client, KEYS) == {KEYS[0]: image(1), KEYS[1]: image(2, KEYS[1])}


def test_by_name_and_no_wildcards(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    request = {"Owners": ["self"], "Filters": [{"Name": "name", "Values": [r"a\*b\?c\\d"]}]}
    stub.add_response("describe_images", {"Images": [answer(1)]}, request)
    stub.add_response("describe_images", {"Images": []}, request)
    assert image_by_name(client, r"a*b?c\d") == image(1)
    assert image_by_name(client, r"a*b?c\d") is None


def test_a_dry_run(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    asked = {"Name": "web", "DryRun": True}
    stub.add_client_error("register_image", "DryRunOperation", "would have succeeded", expected_params=asked)
    stub.add_client_error("register_image", "UnauthorizedOperation", "no", expected_params=asked)
    stub.add_response("register_image", {"ImageId": "ami-00000001"}, asked)
    assert may_register(client, {"Name": "web"}) == "would have succeeded"
    with pytest.raises(RegionError, match="the AMI web: access denied to RegisterImage"):
        may_register(client, {"Name": "web"})
    with pytest.raises(RegionError, match="does not know dry runs"):
        may_register(client, {"Name": "web"})


def test_register(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    stub.add_response("register_image", {"ImageId": "ami-00000001"}, {"Name": "web"})
    stub.add_client_error(
        "register_image", "InvalidAMIName.Duplicate", "taken by ami-2", expected_params={"Name": "web"}
    )
    stub.add_client_error("register_image", "InvalidManifest", "order", expected_params={"Name": "web"})
    assert register_image(client, {"Name": "web"}) == "ami-00000001"
    with pytest.raises(NameTaken, match="taken by ami-2"):
        register_image(client, {"Name": "web"})
    with pytest.raises(RegionError, match="the AMI web: RegisterImage was refused: InvalidManifest") as caught:
        register_image(client, {"Name": "web"})
    assert caught.value.detail == "order"


@pytest.mark.parametrize("location", ["b/p/web.manifest.xml", "/b/p/web.manifest.xml"])
def test_a_bundle_that_is_refused(location: str, stubbed: Stubbed) -> None:
    """EC2 says little; the hint is the command that says more."""
    client, stub = stubbed("ec2")
    request = {"Name": "web", "ImageLocation": location}
    stub.add_client_error("register_image", "InvalidManifest", "order", expected_params=request)
    with pytest.raises(RegionError) as caught:
        register_image(client, request)
    assert (caught.value.brief, caught.value.detail) == (
        f"the bundle {location}: RegisterImage was refused: InvalidManifest",
        "order",
    )
    assert caught.value.hint == "see what is wrong with it: ami-factory verify b/p/web.manifest.xml"


def test_kernel_images(stubbed: Stubbed) -> None:
    """One that is there, one that is no kernel, and three ways of EC2 to say that there is none."""
    client, stub = stubbed("ec2")
    request = {"ImageIds": ["aki-1"]}
    kernel = {"ImageId": "aki-1", "Architecture": "i386", "ImageType": "kernel"}
    stub.add_response("describe_images", {"Images": [kernel]}, request)
    stub.add_response("describe_images", {"Images": [{**kernel, "ImageType": "machine"}]}, request)
    for code in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed"):
        stub.add_client_error("describe_images", code, expected_params=request)
    assert [kernel_architecture(client, "aki-1") for _ in range(5)] == ["i386", "", "", "", ""]


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def test_wait_through_unknown_and_pending(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    request = {"ImageIds": ["ami-00000001"]}
    stub.add_client_error("describe_images", "InvalidAMIID.NotFound", expected_params=request)
    stub.add_response("describe_images", {"Images": []}, request)
    stub.add_response("describe_images", {"Images": [answer(1, state="pending")]}, request)
    stub.add_response("describe_images", {"Images": [answer(1)]}, request)
    clock = Clock()
    assert wait_available(client, "ami-00000001", clock=clock, sleep=clock.sleep) == image(1)
    assert clock.slept == [0.2, 0.5, 1.0]


def test_wait_for_one_that_failed(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    failed = answer(1, state="failed", StateReason={"Code": "x", "Message": "Client.InternalError"})
    stub.add_response("describe_images", {"Images": [failed]}, {"ImageIds": ["ami-00000001"]})
    with pytest.raises(RegionError, match="ami-00000001 is failed") as caught:
        wait_available(client, "ami-00000001")
    assert caught.value.detail == "Client.InternalError"
    assert caught.value.hint.endswith(
        " aws ec2 deregister-image --image-id ami-00000001 --region us-east-1 --endpoint-url http://127.0.0.1:1"
    )


def test_patience_ends(stubbed: Stubbed) -> None:
    client, stub = stubbed("ec2")
    for _ in range(4):
        stub.add_response("describe_images", {"Images": [answer(1, state="pending")]}, {"ImageIds": ["ami-00000001"]})
    clock = Clock()
    with pytest.raises(RegionError, match=r"not available after 3 s \(state pending\)"):
        wait_available(client, "ami-00000001", patience=3, clock=clock, sleep=clock.sleep)
    assert clock.now <= 3
