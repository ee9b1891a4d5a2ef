import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from builder.canonical import to_plain
from builder.cloud import session
from builder.errors import RecipeError, RegionError
from builder.stages.contract import Input
from builder.stages.register import run as stage
from builder.stages.register.spec import RegisterSpec, RootVolume
from builder.worker import from_plain
from tests.support.registered import PV
from tests.support.stubs import stubbed_client
from tests.support.workshop import stage_context

KEY = "d" * 64
LOCATION = "images/web/cccccccccccc/web.manifest.xml"
REQUEST = {
    "Name": "web-1",
    "Description": "A web server",
    "ImageLocation": LOCATION,
    "Architecture": "x86_64",
    "VirtualizationType": "paravirtual",
    "KernelId": "aki-919dcaf8",
    "RootDeviceName": "/dev/sda1",
    "BlockDeviceMappings": [{"DeviceName": "/dev/sda2", "VirtualName": "ephemeral0"}],
    "TagSpecifications": [
        {
            "ResourceType": "image",
            "Tags": [
                {"Key": "Name", "Value": "web-1"},
                {"Key": "ami-factory:key", "Value": KEY},
                {"Key": "team", "Value": "blue"},
            ],
        }
    ],
}
BY_KEY = {"Owners": ["self"], "Filters": [{"Name": "tag:ami-factory:key", "Values": [KEY]}]}
BY_NAME = {"Owners": ["self"], "Filters": [{"Name": "name", "Values": ["web-1"]}]}
BY_ID = {"ImageIds": ["ami-00000001"]}


def answer(key: str | None = KEY, state: str = "available") -> dict[str, Any]:
    return {
        "ImageId": "ami-00000001",
        "Name": "web-1",
        "State": state,
        "ImageLocation": LOCATION,
        "CreationDate": "2026-11-22T10:15:30.000Z",
        "Tags": [{"Key": "ami-factory:key", "Value": key}] if key else [],
    }


@pytest.fixture
def ec2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for make in stubbed_client(tmp_path):
        client, stub = make("ec2", "us-east-1")
        monkeypatch.setattr(session, "client", lambda *asked, client=client: client)
        monkeypatch.setattr(stage.time, "sleep", lambda seconds: None)
        yield stub


@pytest.fixture
def go(tmp_path: Path) -> Callable[[], Any]:
    upload = Input(name="upload", path=tmp_path, result={"location": LOCATION})
    return lambda: stage.run(PV, stage_context(tmp_path, upload, key=KEY))


def result(found: bool) -> dict[str, Any]:
    return {"image_id": "ami-00000001", "name": "web-1", "location": LOCATION, "found": found}


def test_found_by_its_key(ec2: Stubber, go: Callable[[], Any]) -> None:
    ec2.add_response("describe_images", {"Images": [answer()]}, BY_KEY)
    assert go() == result(found=True)


def test_registered_with_its_key_in_the_call(ec2: Stubber, go: Callable[[], Any]) -> None:
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    ec2.add_response("register_image", {"ImageId": "ami-00000001"}, REQUEST)
    ec2.add_client_error("describe_images", "InvalidAMIID.NotFound", expected_params=BY_ID)
    ec2.add_response("describe_images", {"Images": [answer()]}, BY_ID)
    assert go() == result(found=False)


def test_another_builder_was_quicker(ec2: Stubber, go: Callable[[], Any]) -> None:
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    ec2.add_client_error("register_image", "InvalidAMIName.Duplicate", expected_params=REQUEST)
    ec2.add_response("describe_images", {"Images": []}, BY_NAME)  # not to be seen yet
    ec2.add_response("describe_images", {"Images": [answer(state="pending")]}, BY_NAME)
    ec2.add_response("describe_images", {"Images": [answer()]}, BY_ID)
    assert go() == result(found=True)


@pytest.mark.parametrize(
    ("key", "maker"),
    [
        pytest.param("e" * 64, "built by ami-factory for the key eeeeeeeeeeee", id="another-key"),
        pytest.param(None, "not built by ami-factory", id="by-hand"),
    ],
)
def test_a_name_that_is_taken(ec2: Stubber, go: Callable[[], Any], key: str | None, maker: str) -> None:
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    ec2.add_client_error("register_image", "InvalidAMIName.Duplicate", expected_params=REQUEST)
    ec2.add_response("describe_images", {"Images": [answer(key)]}, BY_NAME)
    with pytest.raises(RegionError) as caught:
        go()
    assert caught.value.brief == 'the name "web-1" is taken by ami-00000001'
    assert caught.value.detail == (f"ami-00000001 was made 2026-11-22T10:15:30.000Z, {maker}; it is at {LOCATION}.")
    assert "aws ec2 deregister-image --image-id ami-00000001" in caught.value.hint


def test_a_name_that_is_taken_by_nobody(ec2: Stubber, go: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setitem(stage.taken_by.__kwdefaults__ or {}, "sleep", waited.append)
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    ec2.add_client_error("register_image", "InvalidAMIName.Duplicate", expected_params=REQUEST)
    for _ in range(6):
        ec2.add_response("describe_images", {"Images": []}, BY_NAME)
    with pytest.raises(RegionError, match="by an AMI that the region does not show"):
        go()
    assert 5 < sum(waited) < 15


def test_only_the_fields_that_apply() -> None:
    bare = dataclasses.replace(PV, description="", kernel_id="", root_device_name="", block_device_mappings=(), tags=())
    assert stage.request(bare, KEY, LOCATION) == {
        "Name": "web-1",
        "ImageLocation": LOCATION,
        "Architecture": "x86_64",
        "VirtualizationType": "paravirtual",
        "TagSpecifications": [
            {
                "ResourceType": "image",
                "Tags": [{"Key": "Name", "Value": "web-1"}, {"Key": "ami-factory:key", "Value": KEY}],
            }
        ],
    }


def test_the_key_tag_cannot_be_given_by_a_recipe() -> None:
    forged = dataclasses.replace(PV, tags=(("ami-factory:key", "f" * 64),))
    assert {"Key": "ami-factory:key", "Value": KEY} in stage.request(forged, KEY, LOCATION)["TagSpecifications"][0][
        "Tags"
    ]


SNAPSHOT = "snap-0123456789abcdef0"
OF_EBS = dataclasses.replace(
    PV,
    virtualization="hvm",
    kernel_id="",
    root_device_name="/dev/xvda",
    block_device_mappings=(("/dev/sdb", "ephemeral0"),),
    volume=RootVolume(type="gp3", size=16, iops=4000, throughput=500, delete_on_termination=False),
    ena=True,
    sriov="simple",
    boot_mode="uefi",
    imds="v2.0",
    tpm="v2.0",
    uefi_data="QU1aTlVFRkk=",
    billing_products=("bp-6fa54006",),
)
REQUEST_OF_EBS = {
    "Name": "web-1",
    "Description": "A web server",
    "Architecture": "x86_64",
    "VirtualizationType": "hvm",
    "RootDeviceName": "/dev/xvda",
    "BlockDeviceMappings": [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "SnapshotId": SNAPSHOT,
                "VolumeType": "gp3",
                "VolumeSize": 16,
                "Iops": 4000,
                "Throughput": 500,
                "DeleteOnTermination": False,
            },
        },
        {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
    ],
    "EnaSupport": True,
    "SriovNetSupport": "simple",
    "BootMode": "uefi",
    "ImdsSupport": "v2.0",
    "TpmSupport": "v2.0",
    "UefiData": "QU1aTlVFRkk=",
    "BillingProducts": ["bp-6fa54006"],
    "TagSpecifications": REQUEST["TagSpecifications"],
}


@pytest.fixture
def go_ebs(tmp_path: Path) -> Callable[..., Any]:
    made = Input(name="snapshot", path=tmp_path, result={"snapshot_id": SNAPSHOT, "volume_size": 8})
    return lambda spec=OF_EBS: stage.run(spec, stage_context(tmp_path, made, key=KEY))


def test_every_field_of_an_ami_of_ebs(ec2: Stubber, go_ebs: Callable[..., Any]) -> None:
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    ec2.add_response("register_image", {"ImageId": "ami-00000001"}, REQUEST_OF_EBS)
    ec2.add_response("describe_images", {"Images": [answer()]}, BY_ID)
    assert go_ebs() == result(found=False)


def test_a_snapshot_that_is_not_seen_everywhere_yet(ec2: Stubber, go_ebs: Callable[..., Any]) -> None:
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    ec2.add_client_error("register_image", "InvalidSnapshot.NotFound", expected_params=REQUEST_OF_EBS)
    ec2.add_response("register_image", {"ImageId": "ami-00000001"}, REQUEST_OF_EBS)
    ec2.add_response("describe_images", {"Images": [answer()]}, BY_ID)
    assert go_ebs() == result(found=False)


def test_what_ec2_would_refuse_is_not_sent(ec2: Stubber, go_ebs: Callable[..., Any]) -> None:
    ec2.add_response("describe_images", {"Images": []}, BY_KEY)
    with pytest.raises(RecipeError, match="4 GiB are less than the 8 GiB of the snapshot"):
        go_ebs(dataclasses.replace(OF_EBS, volume=RootVolume(size=4)))


def test_the_smallest_ami_of_ebs() -> None:
    bare = dataclasses.replace(
        PV,
        virtualization="hvm",
        description="",
        kernel_id="",
        root_device_name="/dev/xvda",
        block_device_mappings=(),
        tags=(),
        volume=RootVolume(),
    )
    assert stage.request(bare, KEY, snapshot=SNAPSHOT) == {
        "Name": "web-1",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {"SnapshotId": SNAPSHOT, "VolumeType": "gp3", "DeleteOnTermination": True},
            }
        ],
        "TagSpecifications": [
            {
                "ResourceType": "image",
                "Tags": [{"Key": "Name", "Value": "web-1"}, {"Key": "ami-factory:key", "Value": KEY}],
            }
        ],
    }


def test_a_spec_of_pv_says_nothing_of_what_came_later() -> None:
    """So the keys of AMIs that were registered before stay what they are."""
    later = {"volume", "ena", "sriov", "boot_mode", "imds", "tpm", "uefi_data", "billing_products"}
    assert to_plain(PV).keys() == {field.name for field in dataclasses.fields(PV)} - later
    assert to_plain(OF_EBS).keys() == {field.name for field in dataclasses.fields(PV)}
    assert from_plain(RegisterSpec, to_plain(PV)) == PV
    assert from_plain(RegisterSpec, to_plain(OF_EBS)) == OF_EBS
