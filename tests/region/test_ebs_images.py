"""Images made of snapshots, as any AWS client sees them: every attribute of RegisterImage, sharing, and the end."""

import re
import secrets
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from builder.region.control import Status
from tests.support.regions import client, refused, region_at, served
from tests.support.snapshots import BLOCK, block, snapshot

ACCOUNT = "123456789012"
FRIEND = "210987654321"
UNKNOWN = "snap-0123456789abcdef0"


@pytest.fixture(scope="module")
def ebs(region: Status) -> Any:
    return client("ebs", region.endpoint_url)


@pytest.fixture(scope="module")
def root(ebs: Any) -> str:
    """A completed snapshot of 2 GiB."""
    return snapshot(ebs, {0: block(1)}, size=2)


@pytest.fixture(scope="module")
def friend(region: Status) -> Any:
    return client("ec2", region.endpoint_url, key=FRIEND)


@pytest.fixture
def name() -> str:
    return f"image-{secrets.token_hex(6)}"


def mapping(snapshot_id: str, **members: Any) -> dict[str, Any]:
    return {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id, **members}}


def register(ec2: Any, name: str, snapshot_id: str, **members: Any) -> str:
    wanted = {
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "EnaSupport": True,
        "BlockDeviceMappings": [mapping(snapshot_id, VolumeType="gp3")],
        **members,
    }
    return str(ec2.register_image(Name=name, **wanted)["ImageId"])


def describe(ec2: Any, image_id: str) -> dict[str, Any]:
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    return dict(image)


class TestRegister:
    def test_keeps_every_attribute(self, ec2: Any, root: str, name: str) -> None:
        uefi = b64encode(b"AMZNUEFI" + bytes(100)).decode()
        image_id = register(
            ec2,
            name,
            root,
            Description="what it is",
            SriovNetSupport="simple",
            BootMode="uefi-preferred",
            ImdsSupport="v2.0",
            TpmSupport="v2.0",
            UefiData=uefi,
            TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "a", "Value": "1"}]}],
            BlockDeviceMappings=[
                mapping(root, VolumeSize=10, VolumeType="gp3", Iops=4000, Throughput=250, DeleteOnTermination=False),
                {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "VolumeType": "gp2", "Encrypted": True}},
                {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
                {"DeviceName": "/dev/sdc", "NoDevice": ""},
            ],
        )
        image = describe(ec2, image_id)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", image.pop("CreationDate"))
        assert image == {
            "ImageId": image_id,
            "ImageLocation": f"{ACCOUNT}/{name}",
            "ImageType": "machine",
            "Name": name,
            "Description": "what it is",
            "Architecture": "x86_64",
            "OwnerId": ACCOUNT,
            "Public": False,
            "State": "available",
            "VirtualizationType": "hvm",
            "RootDeviceType": "ebs",
            "RootDeviceName": "/dev/xvda",
            "Hypervisor": "xen",
            "PlatformDetails": "Linux/UNIX",
            "UsageOperation": "RunInstances",
            "ProductCodes": [],
            "EnaSupport": True,
            "SriovNetSupport": "simple",
            "BootMode": "uefi-preferred",
            "ImdsSupport": "v2.0",
            "TpmSupport": "v2.0",
            "Tags": [{"Key": "a", "Value": "1"}],
            "BlockDeviceMappings": [
                {
                    "DeviceName": "/dev/xvda",
                    "Ebs": {
                        "DeleteOnTermination": False,
                        "SnapshotId": root,
                        "VolumeSize": 10,
                        "VolumeType": "gp3",
                        "Iops": 4000,
                        "Throughput": 250,
                        "Encrypted": False,
                    },
                },
                {
                    "DeviceName": "/dev/sdf",
                    "Ebs": {
                        "DeleteOnTermination": True,
                        "VolumeSize": 5,
                        "VolumeType": "gp2",
                        "Encrypted": True,
                    },
                },
                {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
                {"DeviceName": "/dev/sdc", "NoDevice": ""},
            ],
        }

        def attribute(attribute: str, member: str) -> Any:
            return ec2.describe_image_attribute(ImageId=image_id, Attribute=attribute)[member].get("Value")

        assert attribute("uefiData", "UefiData") == uefi
        assert attribute("bootMode", "BootMode") == "uefi-preferred"
        assert attribute("tpmSupport", "TpmSupport") == "v2.0"
        assert attribute("imdsSupport", "ImdsSupport") == "v2.0"
        assert attribute("sriovNetSupport", "SriovNetSupport") == "simple"
        assert attribute("deregistrationProtection", "DeregistrationProtection") == "disabled"

    def test_what_is_taken_when_nothing_is_said(self, ec2: Any, root: str, name: str) -> None:
        mappings = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": root}}]
        image = describe(ec2, ec2.register_image(Name=name, BlockDeviceMappings=mappings)["ImageId"])
        taken = ("Architecture", "VirtualizationType", "RootDeviceName", "EnaSupport")
        assert [image[each] for each in taken] == ["i386", "paravirtual", "/dev/sda1", False]
        assert image["BlockDeviceMappings"] == [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "DeleteOnTermination": True,
                    "SnapshotId": root,
                    "VolumeSize": 2,
                    "VolumeType": "standard",
                    "Encrypted": False,
                },
            }
        ]

    def test_an_encrypted_snapshot_makes_an_encrypted_volume(self, ebs: Any, ec2: Any, name: str) -> None:
        image = describe(ec2, register(ec2, name, snapshot(ebs, {}, Encrypted=True)))
        assert image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
        assert image["BlockDeviceMappings"][0]["Ebs"]["Iops"] == 3000

    def test_filters_by_what_volumes_are(self, ec2: Any, root: str, name: str) -> None:
        image_id = register(ec2, name, root)
        for filter_name, value in (
            ("block-device-mapping.snapshot-id", root),
            ("block-device-mapping.volume-size", "2"),
            ("block-device-mapping.volume-type", "gp3"),
            ("block-device-mapping.encrypted", "false"),
            ("block-device-mapping.delete-on-termination", "true"),
            ("root-device-type", "ebs"),
            ("ena-support", "true"),
        ):
            filters = [{"Name": "name", "Values": [name]}, {"Name": filter_name, "Values": [value]}]
            assert [each["ImageId"] for each in ec2.describe_images(Filters=filters)["Images"]] == [image_id]

    @pytest.mark.parametrize(
        ("members", "code", "saying"),
        [
            pytest.param({"VolumeSize": 1}, "InvalidBlockDeviceMapping", "expect size >= 2GB", id="too small"),
            pytest.param({"Encrypted": False}, "InvalidBlockDeviceMapping", "the encrypted flag", id="encrypted"),
            pytest.param({"KmsKeyId": "alias/a"}, "InvalidParameterCombination", "KmsKeyId", id="key"),
            pytest.param({"VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination", "iops", id="gp2 iops"),
            pytest.param(
                {"VolumeType": "gp2", "Throughput": 125},
                "InvalidParameterCombination",
                "throughput",
                id="gp2 throughput",
            ),
            pytest.param({"VolumeType": "io1", "VolumeSize": 4}, "MissingParameter", "iops", id="io1 without iops"),
            pytest.param(
                {"VolumeType": "io1", "VolumeSize": 4, "Iops": 201}, "InvalidParameterValue", "ratio", id="io1 ratio"
            ),
            pytest.param({"VolumeType": "gp3", "Iops": 2999}, "InvalidParameterValue", "too low", id="few iops"),
            pytest.param({"VolumeType": "gp3", "Iops": 3001}, "InvalidParameterValue", "ratio", id="gp3 ratio"),
            pytest.param(
                {"VolumeType": "gp3", "Throughput": 1000}, "InvalidParameterValue", "too high", id="throughput ratio"
            ),
            pytest.param({"VolumeType": "st1"}, "InvalidParameterValue", "too small", id="small st1"),
            pytest.param({"VolumeType": "gp9"}, "InvalidParameterValue", "volumeType", id="no type"),
            pytest.param({"SnapshotId": UNKNOWN}, "InvalidSnapshot.NotFound", UNKNOWN, id="unknown"),
            pytest.param({"SnapshotId": "snap-x"}, "InvalidParameterValue", "snap-x", id="no id"),
        ],
    )
    def test_volumes_that_cannot_be(self, members: Any, code: str, saying: str, ec2: Any, root: str, name: str) -> None:
        with refused(code, saying):
            register(ec2, name, root, BlockDeviceMappings=[mapping(root) | {
                "Ebs": {"SnapshotId": root, **members}
            }])  # fmt: skip
        assert ec2.describe_images(Filters=[{"Name": "name", "Values": [name]}])["Images"] == []

    @pytest.mark.parametrize(
        ("members", "code"),
        [
            pytest.param({"RootDeviceName": "/dev/sda1"}, "InvalidBlockDeviceMapping", id="no root snapshot"),
            pytest.param({"BlockDeviceMappings": []}, "MissingParameter", id="nothing"),
            pytest.param({"Architecture": "arm64", "BootMode": "legacy-bios"}, "InvalidParameterCombination", id="arm"),
            pytest.param({"Architecture": "i386", "BootMode": "uefi"}, "InvalidParameterCombination", id="i386"),
            pytest.param({"TpmSupport": "v2.0", "BootMode": "legacy-bios"}, "InvalidParameterCombination", id="tpm"),
            pytest.param({"UefiData": "AAAA"}, "InvalidParameterCombination", id="uefi data without uefi"),
            pytest.param({"UefiData": "?", "BootMode": "uefi"}, "InvalidParameterValue", id="uefi data"),
            pytest.param({"KernelId": "aki-919dcaf8"}, "InvalidParameterCombination", id="kernel"),
            pytest.param({"SriovNetSupport": "complex"}, "InvalidParameterValue", id="sriov"),
            pytest.param({"BillingProducts": ["bp-6ba54002"]}, "UnauthorizedOperation", id="billing"),
            pytest.param({"VirtualizationType": "paravirtual"}, "InvalidParameterCombination", id="pv with ena"),
        ],
    )  # fmt: skip
    def test_images_that_cannot_be(self, members: Any, code: str, ec2: Any, root: str, name: str) -> None:
        with refused(code):
            register(ec2, name, root, **members)

    def test_a_pending_snapshot(self, ebs: Any, ec2: Any, name: str) -> None:
        pending = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        with refused("IncorrectState", "not 'completed'"):
            register(ec2, name, pending)

    def test_names_are_taken_in_each_region(self, ec2: Any, root: str, name: str, region: Status) -> None:
        image_id = register(ec2, name, root)
        with refused("InvalidAMIName.Duplicate", image_id):
            register(ec2, name, root)
        there = client("ec2", region.endpoint_url, region="local-2")
        with refused("InvalidSnapshot.NotFound"):
            register(there, name, root)
        own = snapshot(client("ebs", region.endpoint_url, region="local-2"), {})
        with refused("InvalidAMIID.NotFound"):
            describe(ec2, register(there, name, own))


class TestSharing:
    def test_with_accounts_organisations_and_all(self, ec2: Any, friend: Any, root: str, name: str) -> None:
        image_id = register(ec2, name, root)
        with refused("InvalidAMIID.NotFound"):
            describe(friend, image_id)
        organisation = f"arn:aws:organizations::{ACCOUNT}:organization/o-abcdefghij"
        unit = f"arn:aws:organizations::{ACCOUNT}:ou/o-abcdefghij/ou-abcd-12345678"
        ec2.modify_image_attribute(
            ImageId=image_id,
            LaunchPermission={"Add": [{"UserId": FRIEND}, {"OrganizationArn": organisation}, {"Group": "all"}]},
        )
        ec2.modify_image_attribute(
            ImageId=image_id, Attribute="launchPermission", OperationType="add", OrganizationalUnitArns=[unit]
        )

        def permissions() -> Any:
            return ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")["LaunchPermissions"]

        assert permissions() == [
            {"UserId": FRIEND},
            {"Group": "all"},
            {"OrganizationArn": organisation},
            {"OrganizationalUnitArn": unit},
        ]
        assert describe(friend, image_id)["Public"] is True
        ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Remove": [{"OrganizationalUnitArn": unit}]})
        assert len(permissions()) == 3
        ec2.reset_image_attribute(ImageId=image_id, Attribute="launchPermission")
        assert permissions() == []
        with refused("InvalidAMIAttributeItemValue"):
            ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"OrganizationArn": "o-x"}]})

    def test_a_snapshot_is_used_by_whom_it_is_shared_with(self, ebs: Any, ec2: Any, friend: Any, name: str) -> None:
        snapshot_id = snapshot(ebs, {0: block(1)})
        with refused("InvalidSnapshot.NotFound"):
            register(friend, name, snapshot_id)
        ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id, Attribute="createVolumePermission", OperationType="add", UserIds=[FRIEND]
        )
        answer = ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
        assert answer["CreateVolumePermissions"] == [{"UserId": FRIEND}]
        register(friend, name, snapshot_id)
        with refused("InvalidSnapshot.InUse"):
            ec2.delete_snapshot(SnapshotId=snapshot_id)
        with refused("UnauthorizedOperation"):
            friend.delete_snapshot(SnapshotId=snapshot_id)
        found = friend.describe_snapshots(RestorableByUserIds=["self"], SnapshotIds=[snapshot_id])["Snapshots"]
        assert [each["OwnerId"] for each in found] == [ACCOUNT]
        ec2.reset_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
        assert friend.describe_snapshots()["Snapshots"] == []

    def test_what_is_encrypted_stays_private(self, ebs: Any, ec2: Any, name: str) -> None:
        key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        default, own = (snapshot(ebs, {}, Encrypted=True, **more) for more in ({}, {"KmsKeyArn": key}))

        def share(snapshot_id: str, **permission: str) -> None:
            ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [permission]})

        share(own, UserId=FRIEND)
        for snapshot_id, permission in ((own, {"Group": "all"}), (default, {"UserId": FRIEND})):
            with refused("OperationNotPermitted"):
                share(snapshot_id, **permission)
            image_id = register(ec2, f"{name}-{snapshot_id}", snapshot_id)
            with refused("OperationNotPermitted"):
                ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [permission]})

    def test_public_access_is_blocked_when_that_is_wanted(self, root: str, name: str, region: Status) -> None:
        ec2, ebs = (client(each, region.endpoint_url, region="local-3") for each in ("ec2", "ebs"))
        snapshot_id = snapshot(ebs, {})
        image_id = register(ec2, name, snapshot_id)
        assert ec2.get_image_block_public_access_state()["ImageBlockPublicAccessState"] == "unblocked"
        ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
        ec2.enable_snapshot_block_public_access(State="block-all-sharing")
        everyone = {"Add": [{"Group": "all"}]}
        with refused("OperationNotPermitted"):
            ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=everyone)
        with refused("OperationNotPermitted"):
            ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=everyone)
        ec2.disable_image_block_public_access()
        ec2.disable_snapshot_block_public_access()
        ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=everyone)
        ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=everyone)

    def test_encryption_by_default(self, name: str, region: Status) -> None:
        ec2, ebs = (client(each, region.endpoint_url, region="local-3") for each in ("ec2", "ebs"))
        assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
        ec2.enable_ebs_encryption_by_default()
        key = ebs.start_snapshot(VolumeSize=1)["KmsKeyArn"]
        assert key == ec2.get_ebs_default_kms_key_id()["KmsKeyId"]
        ec2.disable_ebs_encryption_by_default()
        assert "KmsKeyArn" not in ebs.start_snapshot(VolumeSize=1)


class TestTheEnd:
    def test_deprecation(self, ec2: Any, friend: Any, root: str, name: str) -> None:
        image_id = register(ec2, name, root)
        ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"UserId": FRIEND}]})
        when = (datetime.now(UTC) + timedelta(days=30)).replace(second=31, microsecond=0)
        ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=when)
        rounded = (when + timedelta(minutes=1)).replace(second=0)
        assert describe(ec2, image_id)["DeprecationTime"] == rounded.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        by_name = {"Filters": [{"Name": "name", "Values": [name]}]}
        assert len(friend.describe_images(**by_name)["Images"]) == 1
        ec2.disable_image_deprecation(ImageId=image_id)
        assert "DeprecationTime" not in describe(ec2, image_id)
        for wrong in (timedelta(days=-1), timedelta(days=3700)):
            with refused("InvalidParameterValue"):
                ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=datetime.now(UTC) + wrong)

    def test_protection(self, ec2: Any, root: str, name: str) -> None:
        image_id = register(ec2, name, root)
        ec2.enable_image_deregistration_protection(ImageId=image_id)
        assert describe(ec2, image_id)["DeregistrationProtection"] == "enabled-without-cooldown"
        with refused("OperationNotPermitted"):
            ec2.deregister_image(ImageId=image_id)
        ec2.disable_image_deregistration_protection(ImageId=image_id)
        ec2.deregister_image(ImageId=image_id)

    def test_protection_cools_down(self, ec2: Any, root: str, name: str) -> None:
        image_id = register(ec2, name, root)
        ec2.enable_image_deregistration_protection(ImageId=image_id, WithCooldown=True)
        ec2.disable_image_deregistration_protection(ImageId=image_id)
        with refused("OperationNotPermitted"):
            ec2.deregister_image(ImageId=image_id)

    def test_deregistered_with_its_snapshots(self, ebs: Any, ec2: Any, root: str, name: str) -> None:
        own = snapshot(ebs, {})
        first = register(ec2, f"{name}-1", own)
        second = register(ec2, f"{name}-2", own)
        with refused("InvalidSnapshot.InUse", first):
            ec2.delete_snapshot(SnapshotId=own)
        answer = ec2.deregister_image(ImageId=first, DeleteAssociatedSnapshots=True)
        assert answer["DeleteSnapshotResults"] == [{"SnapshotId": own, "ReturnCode": "skipped"}]
        answer = ec2.deregister_image(ImageId=second, DeleteAssociatedSnapshots=True)
        assert answer["DeleteSnapshotResults"] == [{"SnapshotId": own, "ReturnCode": "success"}]
        with refused("InvalidSnapshot.NotFound"):
            ec2.describe_snapshots(SnapshotIds=[own])


def test_a_snapshot_as_a_disk(tmp_path: Path) -> None:
    """For a hypervisor: sparse, of the volume's size, made once, gone with the snapshot."""
    from builder.region.ebs.disk import snapshot_disk
    from builder.region.errors import ServiceError

    region = region_at(tmp_path)
    with served(region) as endpoint:
        ebs, ec2 = (client(each, endpoint) for each in ("ebs", "ec2"))
        parent = snapshot(ebs, {0: block(1), 1: block(2)})
        child = snapshot(ebs, {1: block(0), 2047: block(3)}, ParentSnapshotId=parent)
        disk = snapshot_disk(region, child)
        assert snapshot_disk(region, child) == disk
        assert (disk.stat().st_size, disk.stat().st_mode & 0o777) == (1 << 30, 0o400)
        assert disk.stat().st_blocks * 512 <= 4 * BLOCK
        with disk.open("rb") as file:
            found = {each: _at(file, each) for each in (0, 1, 2, 2047)}
        assert found == {0: block(1), 1: block(0), 2: block(0), 2047: block(3)}
        pending = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        for wrong, code in ((pending, "IncorrectState"), (UNKNOWN, "InvalidSnapshot.NotFound")):
            with pytest.raises(ServiceError) as caught:
                snapshot_disk(region, wrong)
            assert caught.value.code == code
        ec2.delete_snapshot(SnapshotId=child)
        assert not disk.exists()


def _at(file: Any, position: int) -> bytes:
    file.seek(position * BLOCK)
    return bytes(file.read(BLOCK))
