"""Instances as records: what is asked for and remembered, what is refused, and how one ends that cannot be started.

No guest boots here: the machines either never begin, or find that the bundle cannot be started.
"""

import base64
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from builder.region import control
from builder.region.control import Status
from builder.region.ec2.instances import states
from builder.region.ec2.instances.describe import FILTERS
from builder.region.ec2.region import Region, now
from tests.support.bundles import TestBundle, make_bundle
from tests.support.regions import WithoutPower, client, refused, region_at, served

KERNEL, PARTITIONED, I386 = "aki-919dcaf8", "aki-499ccb20", "aki-8f9dcae6"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0000000000000000000000000000000000000000000 somebody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A region whose instances stay pending, with an image to start."""

    region: Region
    ec2: Any
    s3: Any
    image: str

    def run(self, **wanted: Any) -> dict[str, Any]:
        """The first instance of a reservation."""
        answer = self.ec2.run_instances(**{"ImageId": self.image, "MinCount": 1, "MaxCount": 1, **wanted})
        return dict(answer["Instances"][0])

    def describe(self, *ids: str, **wanted: Any) -> list[dict[str, Any]]:
        answer = self.ec2.describe_instances(**({"InstanceIds": list(ids)} if ids else {}), **wanted)
        return [instance for each in answer["Reservations"] for instance in each["Instances"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("desk")
    region = region_at(place, WithoutPower)
    bundle = make_bundle(
        tmp_path_factory.mktemp("bundle"),
        region.identity.certificate,
        mappings=(("ami", "sda1"), ("root", "/dev/sda1"), ("ephemeral0", "sdb")),
    )
    with served(region) as url:
        ec2, s3 = client("ec2", url), client("s3", url)
        s3.create_bucket(Bucket="images", ObjectOwnership="BucketOwnerPreferred")
        yield Desk(region=region, ec2=ec2, s3=s3, image=register(ec2, s3, bundle, "desk"))


@pytest.fixture(autouse=True)
def _room(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test finds room for its instances."""
    yield
    if "desk" in request.fixturenames:
        found: Desk = request.getfixturevalue("desk")
        states.terminate_all(found.region.state, "the test is over")


def register(ec2: Any, s3: Any, bundle: TestBundle, name: str, **wanted: Any) -> str:
    for file, content in bundle.files().items():
        s3.put_object(Bucket="images", Key=f"{name}/{file}", Body=content, ACL="aws-exec-read")
    answer = ec2.register_image(Name=name, ImageLocation=f"images/{name}/{bundle.manifest_name}", **wanted)
    return str(answer["ImageId"])


class TestRun:
    def test_the_whole_answer(self, desk: Desk) -> None:
        reservation = desk.ec2.run_instances(ImageId=desk.image, MinCount=1, MaxCount=1)
        (instance,) = reservation["Instances"]
        (group,) = instance["SecurityGroups"]
        assert group["GroupName"] == "default"
        assert (reservation["OwnerId"], reservation["Groups"]) == ("123456789012", [group])
        assert abs(datetime.now(UTC) - instance["LaunchTime"]) < timedelta(minutes=1)
        private = instance["PrivateIpAddress"]
        assert instance == {
            "InstanceId": instance["InstanceId"],
            "ImageId": desk.image,
            "State": {"Code": 0, "Name": "pending"},
            "StateTransitionReason": "",
            "PrivateIpAddress": private,
            "PrivateDnsName": f"ip-{private.replace('.', '-')}.ec2.internal",
            "PublicDnsName": "",
            "AmiLaunchIndex": 0,
            "ClientToken": instance["ClientToken"],
            "InstanceType": "m1.small",
            "KernelId": KERNEL,
            "LaunchTime": instance["LaunchTime"],
            "Placement": {"AvailabilityZone": "us-east-1a", "GroupName": "", "Tenancy": "default"},
            "Monitoring": {"State": "disabled"},
            "Architecture": "x86_64",
            "VirtualizationType": "paravirtual",
            "RootDeviceType": "instance-store",
            "RootDeviceName": "/dev/sda1",
            "BlockDeviceMappings": [],
            "Hypervisor": "xen",
            "EbsOptimized": False,
            "EnaSupport": False,
            "ProductCodes": [],
            "SecurityGroups": [group],
            "MetadataOptions": {
                "State": "applied",
                "HttpTokens": "optional",
                "HttpPutResponseHopLimit": 1,
                "HttpEndpoint": "enabled",
                "HttpProtocolIpv6": "disabled",
                "InstanceMetadataTags": "disabled",
            },
            "PlatformDetails": "Linux/UNIX",
            "UsageOperation": "RunInstances",
        }
        assert desk.describe(instance["InstanceId"]) == [instance]

    def test_all_that_can_be_said(self, desk: Desk) -> None:
        with desk.region.state.transaction() as database:
            database.execute("INSERT INTO key_pairs VALUES ('key-1', 'mine', 'ed25519', 'x', ?, '2026')", (KEY,))
        instance = desk.run(
            InstanceType="c1.medium",
            KernelId=PARTITIONED,
            KeyName="mine",
            UserData="#!/bin/sh\necho hello\n",
            Placement={"AvailabilityZone": "us-east-1b"},
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
            InstanceInitiatedShutdownBehavior="terminate",
            BlockDeviceMappings=[{"DeviceName": "/dev/sda3", "NoDevice": ""}],
            Monitoring={"Enabled": False},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "web"}]}],
        )
        found = {name: instance[name] for name in ("InstanceType", "KernelId", "KeyName", "Tags")}
        assert found == {
            "InstanceType": "c1.medium",
            "KernelId": PARTITIONED,
            "KeyName": "mine",
            "Tags": [{"Key": "role", "Value": "web"}],
        }
        assert instance["Placement"]["AvailabilityZone"] == "us-east-1b"
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
        row = desk.region.state.row("SELECT record FROM instances WHERE id = ?", (instance["InstanceId"],))
        assert row is not None
        assert '"Disks": [["ephemeral0", "sdb", 350, "ext3"]]' in row["record"]
        assert KEY in row["record"]

    def test_several(self, desk: Desk) -> None:
        reservation = desk.ec2.run_instances(ImageId=desk.image, MinCount=2, MaxCount=3)
        instances = reservation["Instances"]
        assert [each["AmiLaunchIndex"] for each in instances] == [0, 1, 2]
        assert len({each["PrivateIpAddress"] for each in instances}) == 3
        (described,) = desk.ec2.describe_instances(InstanceIds=[each["InstanceId"] for each in instances])[
            "Reservations"
        ]
        assert (described["ReservationId"], described["Instances"]) == (reservation["ReservationId"], instances)

    def test_as_many_as_there_is_room_for(self, desk: Desk) -> None:
        room = desk.region.machines.room("paravirtual")
        assert len(desk.ec2.run_instances(ImageId=desk.image, MinCount=1, MaxCount=room + 5)["Instances"]) == room
        assert desk.region.machines.room("paravirtual") == 0
        with refused("InstanceLimitExceeded", "0 more"):
            desk.run()

    def test_a_token_starts_once(self, desk: Desk) -> None:
        token = secrets.token_hex(8)
        first = desk.run(ClientToken=token)
        assert desk.run(ClientToken=token) == first
        assert first["ClientToken"] == token
        with refused("IdempotentParameterMismatch", token):
            desk.run(ClientToken=token, InstanceType="m1.large")
        assert desk.run(ClientToken=f"{token}-2")["InstanceId"] != first["InstanceId"]

    def test_an_image_for_imdsv2_alone(self, desk: Desk, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path, desk.region.identity.certificate)
        image = register(desk.ec2, desk.s3, bundle, "imds-v2", ImdsSupport="v2.0")
        options = desk.run(ImageId=image)["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 2)
        assert desk.run(ImageId=image, MetadataOptions={"HttpTokens": "optional"})["MetadataOptions"]["HttpTokens"] == (
            "optional"
        )

    @pytest.mark.parametrize(
        ("wanted", "code", "saying"),
        [
            pytest.param({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound", "does not exist", id="image"),
            pytest.param({"ImageId": "disk.img"}, "InvalidAMIID.Malformed", "disk.img", id="not-an-image"),
            pytest.param({"ImageId": KERNEL}, "InvalidAMIID.Malformed", KERNEL, id="a-kernel"),
            pytest.param({"InstanceType": "m1.smal"}, "InvalidParameterValue", "(m1.smal)", id="type"),
            pytest.param({"InstanceType": "t4g.small"}, "InvalidParameterValue", "arm64", id="architecture"),
            pytest.param({"InstanceType": "t2.micro"}, "InvalidParameterCombination", "paravirtual", id="hvm-type"),
            pytest.param({"InstanceType": "t1.micro"}, "InvalidParameterCombination", "instance-store", id="ebs-type"),
            pytest.param({"KernelId": "aki-00000000"}, "InvalidAMIID.NotFound", "aki-00000000", id="kernel"),
            pytest.param({"KernelId": I386}, "InvalidParameterValue", "i386", id="kernel-of-other"),
            pytest.param({"RamdiskId": "ari-00000000"}, "InvalidAMIID.NotFound", "ari-00000000", id="ramdisk"),
            pytest.param({"KeyName": "nobodys"}, "InvalidKeyPair.NotFound", "'nobodys'", id="key"),
            pytest.param({"SecurityGroups": ["none"]}, "InvalidGroup.NotFound", "'none'", id="group"),
            pytest.param(
                {"SecurityGroupIds": ["sg-00000000"]}, "InvalidGroup.NotFound", "'sg-00000000'", id="group-id"
            ),
            pytest.param({"SecurityGroupIds": ["default"]}, "InvalidGroupId.Malformed", "default", id="not-a-group-id"),
            pytest.param({"MinCount": 0}, "InvalidParameterValue", "minCount", id="none"),
            pytest.param({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue", "maxCount", id="fewer-than-least"),
            pytest.param({"MinCount": 99, "MaxCount": 99}, "InstanceLimitExceeded", "(99)", id="too-many"),
            pytest.param({"UserData": "x" * 16385}, "InvalidParameterValue", "16384", id="user-data"),
            pytest.param(
                {"Placement": {"AvailabilityZone": "us-east-1z"}}, "InvalidParameterValue", "us-east-1z", id="zone"
            ),
            pytest.param({"Placement": {"Tenancy": "host"}}, "UnsupportedOperation", "tenancy", id="tenancy"),
            pytest.param({"SubnetId": "subnet-0"}, "UnsupportedOperation", "SubnetId", id="subnet"),
            pytest.param({"Monitoring": {"Enabled": True}}, "UnsupportedOperation", "Monitoring", id="monitoring"),
            pytest.param(
                {"InstanceInitiatedShutdownBehavior": "stop"}, "InvalidParameterCombination", "EBS-backed", id="stop"
            ),
            pytest.param(
                {"BlockDeviceMappings": [{"DeviceName": "/dev/sdb"}]},
                "InvalidBlockDeviceMapping",
                "/dev/sdb",
                id="disk",
            ),
            pytest.param(
                {"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue", "HopLimit", id="hops"
            ),
            pytest.param({"MetadataOptions": {"HttpTokens": "no"}}, "InvalidParameterValue", "httpTokens", id="tokens"),
            pytest.param({"ClientToken": "x" * 65}, "InvalidParameterValue", "clientToken", id="client-token"),
            pytest.param(
                {"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}]},
                "InvalidParameterValue",
                "'volume'",
                id="tags-of-something-else",
            ),
            pytest.param({"DryRun": True}, "DryRunOperation", "would have succeeded", id="dry-run"),
        ],
    )
    def test_refused(self, desk: Desk, wanted: dict[str, Any], code: str, saying: str) -> None:
        before = desk.describe()
        with refused(code, saying):
            desk.run(**wanted)
        assert desk.describe() == before

    def test_user_data_of_16_kib_and_not_a_byte_more(self, desk: Desk) -> None:
        instance = desk.run(UserData="x" * 16384)["InstanceId"]
        answer = desk.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
        assert base64.b64decode(answer["UserData"]["Value"]) == b"x" * 16384
        with refused("InvalidParameterValue", "these are 16385"):
            desk.run(UserData="x" * 16385)

    def test_an_image_that_was_deregistered(self, desk: Desk, tmp_path: Path) -> None:
        image = register(desk.ec2, desk.s3, make_bundle(tmp_path, desk.region.identity.certificate), "gone")
        desk.ec2.deregister_image(ImageId=image)
        with refused("InvalidAMIID.Unavailable", image):
            desk.run(ImageId=image)

    def test_an_hvm_image(self, desk: Desk, tmp_path: Path) -> None:
        """Of the instance store, on a type that has one: under the BIOS, and with no kernel image of EC2's."""
        bundle = make_bundle(tmp_path, desk.region.identity.certificate, kernel_id="")
        image = register(desk.ec2, desk.s3, bundle, "hvm", VirtualizationType="hvm")
        found = desk.run(ImageId=image, InstanceType="m3.medium")
        assert (found["VirtualizationType"], found["RootDeviceType"]) == ("hvm", "instance-store")
        assert found["CurrentInstanceBootMode"] == "legacy-bios"
        with refused("InvalidParameterCombination", "kernelId"):
            desk.run(ImageId=image, InstanceType="m3.medium", KernelId=KERNEL)
        with refused("InvalidParameterCombination", "instance-store root device"):
            desk.run(ImageId=image, InstanceType="t2.micro")


class TestDescribe:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("image-id", "{ImageId}"), ("instance-id", "{InstanceId}"), ("instance-state-name", "pending"),
            ("instance-state-code", "0"), ("instance-type", "m1.s*"), ("kernel-id", KERNEL), ("tag:role", "web-?"),
            ("tag-key", "role"), ("group-name", "default"), ("instance.group-name", "default"),
            ("private-ip-address", "{PrivateIpAddress}"), ("private-dns-name", "{PrivateDnsName}"),
            ("availability-zone", "us-east-1a"), ("availability-zone-id", "use1-az1"), ("owner-id", "123456789012"),
            ("root-device-type", "instance-store"), ("architecture", "x86_64"), ("launch-index", "0"),
            ("metadata-options.http-tokens", "optional"), ("virtualization-type", "paravirtual"),
        ],
    )  # fmt: skip
    def test_filters(self, desk: Desk, name: str, value: str) -> None:
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "web-1"}]}]
        instance = desk.run(TagSpecifications=tags)
        wanted = {"Name": name, "Values": [value.format_map({**instance, "InstanceId": instance["InstanceId"]})]}
        found = [each["InstanceId"] for each in desk.describe(Filters=[wanted])]
        assert instance["InstanceId"] in found
        assert desk.describe(Filters=[{**wanted, "Values": ["nothing"]}]) == []

    def test_every_filter_can_be_asked_for(self, desk: Desk) -> None:
        desk.run()
        for name in (*FILTERS, "owner-id"):
            desk.describe(Filters=[{"Name": name, "Values": ["x"]}])
        with refused("InvalidParameterValue", "'colour'"):
            desk.describe(Filters=[{"Name": "colour", "Values": ["x"]}])

    def test_pages(self, desk: Desk) -> None:
        ids = [
            each["InstanceId"]
            for each in desk.ec2.run_instances(ImageId=desk.image, MinCount=8, MaxCount=8)["Instances"]
        ]
        pages = list(desk.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
        found = [i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
        assert len(pages) > 1
        assert [each for each in found if each in ids] == ids
        with refused("InvalidParameterCombination", "maxResults"):
            desk.describe(ids[0], MaxResults=5)
        with refused("InvalidParameterValue", "maxResults"):
            desk.describe(MaxResults=4)

    def test_ids_that_are_none(self, desk: Desk) -> None:
        there = desk.run()["InstanceId"]
        with refused("InvalidInstanceID.NotFound", "The instance ID 'i-00000000' does not exist"):
            desk.describe(there, "i-00000000")
        with refused("InvalidInstanceID.NotFound", "'i-00000000, i-11111111' do not exist"):
            desk.describe("i-00000000", "i-11111111")
        with refused("InvalidInstanceID.Malformed", '"web"'):
            desk.describe("web")

    def test_status(self, desk: Desk) -> None:
        pending, running = (desk.run()["InstanceId"] for _ in range(2))
        with desk.region.state.transaction() as database:
            assert states.start(database, running)
        (status,) = desk.ec2.describe_instance_status(InstanceIds=[pending, running])["InstanceStatuses"]
        assert status == {
            "InstanceId": running,
            "AvailabilityZone": "us-east-1a",
            "AvailabilityZoneId": "use1-az1",
            "InstanceState": {"Code": 16, "Name": "running"},
            "SystemStatus": {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]},
            "InstanceStatus": {
                "Status": "initializing",
                "Details": [{"Name": "reachability", "Status": "initializing"}],
            },
        }
        asked = {"InstanceIds": [pending, running], "IncludeAllInstances": True}
        found = desk.ec2.describe_instance_status(**asked)["InstanceStatuses"]
        assert {each["InstanceId"]: each["InstanceStatus"]["Status"] for each in found} == {
            pending: "not-applicable",
            running: "initializing",
        }
        wanted = [{"Name": "instance-status.status", "Values": ["ok"]}]
        assert desk.ec2.describe_instance_status(Filters=wanted)["InstanceStatuses"] == []

    def test_tags(self, desk: Desk) -> None:
        instance = desk.run()["InstanceId"]
        desk.ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": "one"}])
        assert desk.describe(instance)[0]["Tags"] == [{"Key": "Name", "Value": "one"}]
        wanted = [{"Name": "resource-type", "Values": ["instance"]}]
        found = [each for each in desk.ec2.describe_tags(Filters=wanted)["Tags"] if each["ResourceId"] == instance]
        assert found == [{"ResourceId": instance, "ResourceType": "instance", "Key": "Name", "Value": "one"}]
        desk.ec2.delete_tags(Resources=[instance], Tags=[{"Key": "Name"}])
        assert "Tags" not in desk.describe(instance)[0]
        with refused("InvalidInstanceID.NotFound", "i-00000000"):
            desk.ec2.create_tags(Resources=["i-00000000"], Tags=[{"Key": "Name", "Value": "one"}])


class TestChanges:
    def test_terminate(self, desk: Desk) -> None:
        first, second = (desk.run()["InstanceId"] for _ in range(2))
        answer = desk.ec2.terminate_instances(InstanceIds=[first, second])["TerminatingInstances"]
        assert answer == [
            {
                "InstanceId": each,
                "PreviousState": {"Code": 0, "Name": "pending"},
                "CurrentState": {"Code": 32, "Name": "shutting-down"},
            }
            for each in (first, second)
        ]
        (over,) = desk.describe(first)
        assert over["State"] == {"Code": 48, "Name": "terminated"}
        assert over["StateReason"] == {
            "Code": "Client.UserInitiatedShutdown",
            "Message": "Client.UserInitiatedShutdown: User initiated shutdown",
        }
        assert over["StateTransitionReason"].startswith("User initiated (")
        assert "PrivateIpAddress" not in over
        assert (over["PrivateDnsName"], over["SecurityGroups"]) == ("", [])
        (again,) = desk.ec2.terminate_instances(InstanceIds=[first])["TerminatingInstances"]
        assert again["PreviousState"] == again["CurrentState"] == {"Code": 48, "Name": "terminated"}

    def test_all_or_none(self, desk: Desk) -> None:
        free, kept = desk.run()["InstanceId"], desk.run(DisableApiTermination=True)["InstanceId"]
        with refused("OperationNotPermitted", f"'{kept}' may not be terminated"):
            desk.ec2.terminate_instances(InstanceIds=[free, kept])
        with refused("InvalidInstanceID.NotFound"):
            desk.ec2.terminate_instances(InstanceIds=[free, "i-00000000"])
        assert {each["State"]["Name"] for each in desk.describe(free, kept)} == {"pending"}
        desk.ec2.modify_instance_attribute(InstanceId=kept, DisableApiTermination={"Value": False})
        desk.ec2.terminate_instances(InstanceIds=[free, kept])

    def test_an_hour_after_its_end_it_is_forgotten(self, desk: Desk) -> None:
        instance = desk.run(ClientToken="forgotten")["InstanceId"]
        desk.ec2.create_tags(Resources=[instance], Tags=[{"Key": "a", "Value": "b"}])
        desk.ec2.terminate_instances(InstanceIds=[instance])
        assert len(desk.describe(instance)) == 1
        with desk.region.state.transaction() as database:
            database.execute("UPDATE instances SET ended = '2020-01-01T00:00:00.000Z' WHERE id = ?", (instance,))
        with refused("InvalidInstanceID.NotFound"):
            desk.describe(instance)
        assert desk.region.state.row("SELECT 1 FROM tags WHERE resource = ?", (instance,)) is None
        assert desk.run(ClientToken="forgotten")["InstanceId"] != instance

    def test_what_the_instance_store_cannot_do(self, desk: Desk) -> None:
        instance = desk.run()["InstanceId"]
        with refused("UnsupportedOperation", "does not have an 'ebs' root device type and cannot be stopped"):
            desk.ec2.stop_instances(InstanceIds=[instance])
        with refused("UnsupportedOperation", "cannot be started"):
            desk.ec2.start_instances(InstanceIds=[instance])
        with refused("IncorrectInstanceState", "'running'"):
            desk.ec2.reboot_instances(InstanceIds=[instance])
        desk.ec2.terminate_instances(InstanceIds=[instance])
        with refused("IncorrectInstanceState", "stopped"):
            desk.ec2.stop_instances(InstanceIds=[instance])

    def test_attributes(self, desk: Desk) -> None:
        instance = desk.run(UserData="hello")
        words = botocore.session.get_session().get_service_model("ec2").shape_for("InstanceAttributeName").enum
        answers = {}
        for each in words:
            try:
                answers[each] = desk.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute=each)
            except desk.ec2.exceptions.ClientError as error:
                answers[each] = {"refused": error.response["Error"]["Code"]}
        for each in answers.values():
            each.pop("ResponseMetadata", None)
            each.pop("InstanceId", None)
        assert answers == {
            "instanceType": {"InstanceType": {"Value": "m1.small"}},
            "kernel": {"KernelId": {"Value": KERNEL}},
            "ramdisk": {"RamdiskId": {}},
            "userData": {"UserData": {"Value": base64.b64encode(b"hello").decode()}},
            "disableApiTermination": {"DisableApiTermination": {"Value": False}},
            "instanceInitiatedShutdownBehavior": {"InstanceInitiatedShutdownBehavior": {"Value": "terminate"}},
            "rootDeviceName": {"RootDeviceName": {"Value": "/dev/sda1"}},
            "blockDeviceMapping": {"BlockDeviceMappings": []},
            "productCodes": {"ProductCodes": []},
            "sourceDestCheck": {"refused": "InvalidParameterValue"},
            "groupSet": {"Groups": instance["SecurityGroups"]},
            "ebsOptimized": {"EbsOptimized": {"Value": False}},
            "sriovNetSupport": {"SriovNetSupport": {}},
            "enaSupport": {"EnaSupport": {"Value": False}},
            "enclaveOptions": {"refused": "InvalidParameterValue"},
            "disableApiStop": {"DisableApiStop": {"Value": False}},
        }

    def test_attributes_that_can_be_changed(self, desk: Desk) -> None:
        instance = desk.run()["InstanceId"]
        with refused("IncorrectInstanceState", "'stopped'"):
            desk.ec2.modify_instance_attribute(InstanceId=instance, UserData={"Value": b"new"})
        with refused("InvalidParameterCombination"):
            desk.ec2.modify_instance_attribute(InstanceId=instance)
        with refused("InvalidGroup.NotFound"):
            desk.ec2.modify_instance_attribute(InstanceId=instance, Groups=["sg-00000000"])
        answer = desk.ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required")
        assert answer["InstanceMetadataOptions"]["HttpTokens"] == "required"
        assert desk.describe(instance)[0]["MetadataOptions"]["HttpTokens"] == "required"
        with refused("InvalidParameterValue"):
            desk.ec2.modify_instance_metadata_options(InstanceId=instance, HttpPutResponseHopLimit=0)

    def test_a_console_without_a_word(self, desk: Desk) -> None:
        instance = desk.run()["InstanceId"]
        answer = desk.ec2.get_console_output(InstanceId=instance)
        assert (answer["InstanceId"], answer.get("Output", "")) == (instance, "")


class TestWhatCannotBeStarted:
    """In a region as it is: the launch goes as far as it can."""

    def started(self, region: Status, s3: Any, bundle: TestBundle, spoil: Any) -> dict[str, Any]:
        """An instance of a bundle that was spoilt after it had been registered, once it has ended."""
        ec2, bucket = client("ec2", region.endpoint_url), f"spoilt-{secrets.token_hex(6)}"
        s3.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerPreferred")
        for name, content in bundle.files().items():
            s3.put_object(Bucket=bucket, Key=name, Body=content, ACL="aws-exec-read")
        image = ec2.register_image(Name=bucket, ImageLocation=f"{bucket}/{bundle.manifest_name}")["ImageId"]
        spoil(bucket, f"{bundle.name}.part.0")
        instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
        end = time.monotonic() + 60
        while time.monotonic() < end and instance["State"]["Name"] != "terminated":
            time.sleep(0.2)
            answer = ec2.describe_instances(InstanceIds=[instance["InstanceId"]])
            instance = answer["Reservations"][0]["Instances"][0]
        return dict(instance)

    @pytest.mark.parametrize("how", ["damaged", "removed", "private", "truncated"])
    def test_a_bundle_that_changed_in_s3(self, region: Status, s3: Any, bundle: TestBundle, how: str) -> None:
        parts = sorted(name for name in bundle.files() if ".part." in name)
        content = bytearray(bundle.files()[parts[1]])
        content[len(content) // 2] ^= 1

        def spoil(bucket: str, _: str) -> None:
            place = {"Bucket": bucket, "Key": parts[1]}
            if how == "damaged":
                s3.put_object(**place, Body=bytes(content), ACL="aws-exec-read")
            elif how == "truncated":
                s3.put_object(**place, Body=bytes(content[:-16]), ACL="aws-exec-read")
            elif how == "private":
                s3.put_object_acl(**place, ACL="private")
            else:
                s3.delete_object(**place)

        said = {
            "damaged": f"part {parts[1]} is damaged: its SHA-1 is not the one that the manifest gives",
            "removed": f"part {parts[1]} of the bundle: HTTP 4",
            "private": f"part {parts[1]} of the bundle: HTTP 403 (Forbidden)",
            "truncated": "the parts have 416 bytes together, the manifest says 432",
        }[how]
        instance = self.started(region, s3, bundle, spoil)
        assert instance["State"] == {"Code": 48, "Name": "terminated"}
        assert instance["StateReason"]["Code"] == "Client.InternalError"
        assert instance["StateReason"]["Message"].startswith(f"Client.InternalError: Client error on launch: {said}")
        left = list((region.directory / "state" / "instances" / "images").glob("*"))
        assert left == []


def test_no_instance_outlives_its_region(tmp_path: Path) -> None:
    """Shown as terminated by the next one, whether the first was stopped or killed."""
    place = tmp_path / "region"
    status = control.start(place)
    try:
        region = region_of_records(place)
        region.execute("INSERT INTO reservations VALUES ('r-1', '2026', NULL, 'x')")
        region.execute(
            "INSERT INTO instances VALUES ('i-00000001', 'r-1', 0, 'ami-1', NULL, 'running', ?, NULL, '10.1.1.1', "
            "'127.1.1.1', 'mac', '{}', NULL, NULL, '', ?, NULL)",
            (now(), RECORD),
        )
        region.commit()
        region.close()
        assert control.status(place) is not None
        control.stop(place)
        again = control.start(place)
        assert again.instances == 0
        ec2 = client("ec2", again.endpoint_url)
        (instance,) = ec2.describe_instances(InstanceIds=["i-00000001"])["Reservations"][0]["Instances"]
        assert instance["State"]["Name"] == "terminated"
        assert instance["StateReason"] == {
            "Code": "Server.InternalError",
            "Message": "Server.InternalError: Internal error: the local region was stopped",
        }
        assert status.guest_memory_mib == 512
    finally:
        control.stop(place)


RECORD = (
    '{"InstanceType": "m1.small", "Architecture": "x86_64", "VirtualizationType": "paravirtual", '
    '"MetadataOptions": {}, '
    '"RootDeviceName": "/dev/sda1", "AvailabilityZone": "us-east-1a", "DisableApiTermination": false, "Disks": []}'
)


def region_of_records(place: Path) -> Any:
    import sqlite3

    return sqlite3.connect(place / "state" / "region.sqlite")
