"""Instances whose root is an EBS volume, as EC2's calls show them. What boots such a one: tests/host/test_hvm.py."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.region.ec2.instances import states
from builder.region.ec2.region import Region
from tests.support.regions import WithoutPower, client, refused, region_at, served

RECORD = {
    "ImageId": "ami-0123456789abcdef0",
    "Name": "hvm",
    "ImageLocation": "000000000000/hvm",
    "ImageType": "machine",
    "Architecture": "x86_64",
    "CreationDate": "2026-11-28T08:00:00.000Z",
    "VirtualizationType": "hvm",
    "RootDeviceType": "ebs",
    "RootDeviceName": "/dev/xvda",
    "BlockDeviceMappings": [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {"SnapshotId": "snap-01", "VolumeSize": 2, "VolumeType": "gp3", "DeleteOnTermination": True},
        }
    ],
    "Hypervisor": "xen",
    "EnaSupport": True,
    "BootMode": "uefi-preferred",
    "ImdsSupport": "v2.0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    region: Region
    ec2: Any

    def run(self, **wanted: Any) -> dict[str, Any]:
        usual = {"ImageId": RECORD["ImageId"], "InstanceType": "m5d.large", "MinCount": 1, "MaxCount": 1}
        return dict(self.ec2.run_instances(**{**usual, **wanted})["Instances"][0])

    def describe(self, instance: str) -> dict[str, Any]:
        return dict(self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    region = region_at(tmp_path, WithoutPower)
    record = {**RECORD, "OwnerId": region.account}
    row = (RECORD["ImageId"], region.account, "hvm", "available", "2026", json.dumps(record), b"")
    with region.state.transaction() as database:
        database.execute(
            "INSERT INTO images (id, owner, name, state, created, record, manifest) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        )
    with served(region) as endpoint:
        yield Desk(region=region, ec2=client("ec2", endpoint))
    region.state.close()


def test_what_is_shown(desk: Desk) -> None:
    instance = desk.run()
    found = desk.describe(instance["InstanceId"])
    (mapping,) = found["BlockDeviceMappings"]
    (volume,) = desk.ec2.describe_volumes()["Volumes"]
    shown = ("RootDeviceType", "RootDeviceName", "VirtualizationType", "EnaSupport", "BootMode")
    assert {name: found[name] for name in (*shown, "CurrentInstanceBootMode")} == {
        "RootDeviceType": "ebs",
        "RootDeviceName": "/dev/xvda",
        "VirtualizationType": "hvm",
        "EnaSupport": True,
        "BootMode": "uefi-preferred",
        "CurrentInstanceBootMode": "uefi",
    }
    assert found["PrivateIpAddress"].startswith("172.31.")
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert (mapping["DeviceName"], mapping["Ebs"]["VolumeId"]) == ("/dev/xvda", volume["VolumeId"])
    assert {name: volume[name] for name in ("Size", "SnapshotId", "State", "VolumeType", "Encrypted")} == {
        "Size": 2,
        "SnapshotId": "snap-01",
        "State": "in-use",
        "VolumeType": "gp3",
        "Encrypted": False,
    }
    assert volume["Attachments"][0]["InstanceId"] == instance["InstanceId"]


def test_volumes_are_found(desk: Desk) -> None:
    large = desk.run(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9}}])["InstanceId"]
    desk.run()
    by_size = desk.ec2.describe_volumes(Filters=[{"Name": "size", "Values": ["9"]}])["Volumes"]
    assert [each["Attachments"][0]["InstanceId"] for each in by_size] == [large]
    identifier = by_size[0]["VolumeId"]
    assert desk.ec2.describe_volumes(VolumeIds=[identifier])["Volumes"] == by_size
    found = [{"Name": "block-device-mapping.volume-id", "Values": [identifier]}]
    reservations = desk.ec2.describe_instances(Filters=found)["Reservations"]
    assert [each["InstanceId"] for every in reservations for each in every["Instances"]] == [large]
    with refused("InvalidVolume.NotFound"):
        desk.ec2.describe_volumes(VolumeIds=["vol-0123456789abcdef0"])


def test_stopped_and_started(desk: Desk) -> None:
    instance = desk.run()["InstanceId"]
    with refused("IncorrectInstanceState"):  # it is pending
        desk.ec2.stop_instances(InstanceIds=[instance])
    with desk.region.state.transaction() as database:
        states.start(database, instance)
    (change,) = desk.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]) == ("running", {"Code": 64, "Name": "stopping"})
    with desk.region.state.transaction() as database:
        states.stopped(database, instance, code=states.USER, reason="User initiated shutdown")
    found = desk.describe(instance)
    assert (found["State"], found["StateReason"]["Code"]) == ({"Code": 80, "Name": "stopped"}, states.USER)
    assert len(desk.ec2.describe_volumes()["Volumes"]) == 1
    (change,) = desk.ec2.start_instances(InstanceIds=[instance])["StartingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopped", "pending")
    assert "StateReason" not in desk.describe(instance)
    desk.ec2.terminate_instances(InstanceIds=[instance])
    assert desk.ec2.describe_volumes()["Volumes"] == []
    with refused("IncorrectInstanceState"):
        desk.ec2.start_instances(InstanceIds=[instance])


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        pytest.param({"InstanceType": "t2.micro", "KernelId": "aki-919dcaf8"}, "InvalidParameterCombination", id="aki"),
        pytest.param({"InstanceInitiatedShutdownBehavior": "sleep"}, "InvalidParameterValue", id="behavior"),
        pytest.param(
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}]},
            "UnsupportedOperation",
            id="another-volume",
        ),
    ],
)
def test_refused(desk: Desk, wanted: dict[str, Any], code: str) -> None:
    with refused(code):
        desk.run(**wanted)


def test_what_powers_off_is_stopped_unless_it_is_to_end(desk: Desk) -> None:
    instance = desk.run(InstanceInitiatedShutdownBehavior="terminate")["InstanceId"]
    attribute = "instanceInitiatedShutdownBehavior"
    member = "InstanceInitiatedShutdownBehavior"
    found = desk.ec2.describe_instance_attribute(InstanceId=instance, Attribute=attribute)
    assert found[member] == {"Value": "terminate"}
    desk.ec2.modify_instance_attribute(InstanceId=instance, InstanceInitiatedShutdownBehavior={"Value": "stop"})
    found = desk.ec2.describe_instance_attribute(InstanceId=instance, Attribute=attribute)
    assert found[member] == {"Value": "stop"}
