"""CopySnapshot, CopyImage and ImportSnapshot, between regions of one process: states, progress, failures, quotas."""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.region import control
from builder.region.control import Status
from tests.support.faults import faults
from tests.support.regions import client, refused, running
from tests.support.snapshots import BLOCK, block, content_of, snapshot

ACCOUNT = "123456789012"
FRIEND = "210987654321"
BLOCKS = {0: block(1), 5: block(2)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Status]:
    """A region of this module's own: faults are for all of its clients."""
    with running(tmp_path_factory.mktemp("region")) as status:
        yield status


def there(place: Status, service: str, region: str = "local-2", **options: Any) -> Any:
    return client(service, place.endpoint_url, region=region, **options)


@pytest.fixture(scope="module")
def here(place: Status) -> Any:
    return client("ec2", place.endpoint_url)


@pytest.fixture(scope="module")
def source(place: Status) -> str:
    return snapshot(client("ebs", place.endpoint_url), BLOCKS)


@pytest.fixture(scope="module")
def bucket(place: Status) -> str:
    client("s3", place.endpoint_url).create_bucket(Bucket="imports")
    return "imports"


@pytest.fixture
def name() -> str:
    return f"image-{secrets.token_hex(6)}"


def register(ec2: Any, name: str, snapshot_id: str, **members: Any) -> str:
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id, "VolumeType": "gp3"}}
    return str(
        ec2.register_image(
            Name=name,
            Architecture="x86_64",
            VirtualizationType="hvm",
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[mapping],
            **members,
        )["ImageId"]
    )


def described(ec2: Any, snapshot_id: str) -> dict[str, Any]:
    (found,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return dict(found)


def image_of(ec2: Any, image_id: str) -> dict[str, Any]:
    (found,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    return dict(found)


class TestSnapshots:
    def test_a_copy_has_what_its_source_has(self, place: Status, here: Any, source: str) -> None:
        ec2 = there(place, "ec2")
        answer = ec2.copy_snapshot(
            SourceRegion="us-east-1",
            SourceSnapshotId=source,
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "1"}]}],
        )
        found = described(ec2, answer["SnapshotId"])
        assert answer["Tags"] == found["Tags"] == [{"Key": "a", "Value": "1"}]
        assert (found["State"], found["Progress"], found["VolumeSize"]) == ("completed", "100%", 1)
        assert found["Description"] == f"[Copied {source} from us-east-1]"
        assert content_of(there(place, "ebs"), answer["SnapshotId"]) == BLOCKS
        with refused("InvalidSnapshot.NotFound"):
            described(here, answer["SnapshotId"])

    def test_a_copy_outlives_its_source(self, place: Status, here: Any) -> None:
        content = os.urandom(BLOCK)
        first = snapshot(client("ebs", place.endpoint_url), {7: content})
        copy = there(place, "ec2").copy_snapshot(SourceRegion="local", SourceSnapshotId=first)["SnapshotId"]
        here.delete_snapshot(SnapshotId=first)
        assert content_of(there(place, "ebs"), copy) == {7: content}

    def test_encryption(self, place: Status, source: str) -> None:
        ec2 = there(place, "ec2")

        def copy(**options: Any) -> dict[str, Any]:
            answer = ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=source, **options)
            return described(ec2, answer["SnapshotId"])

        key = f"arn:aws:kms:local-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        assert copy(Encrypted=True)["KmsKeyId"] == ec2.get_ebs_default_kms_key_id()["KmsKeyId"]
        assert copy(Encrypted=True, KmsKeyId="1234abcd-12ab-34cd-56ef-1234567890ab")["KmsKeyId"] == key
        elsewhere = copy(Encrypted=True, KmsKeyId=key.replace("local-2", "local-3"))
        assert (elsewhere["State"], elsewhere["StateMessage"]) == ("error", "Given key ID is not accessible")
        with refused("InvalidParameterCombination"):
            copy(KmsKeyId=key)
        encrypted = snapshot(client("ebs", place.endpoint_url), {}, Encrypted=True)
        copied = ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=encrypted)["SnapshotId"]
        assert described(ec2, copied)["Encrypted"] is True

    def test_refusals(self, place: Status, source: str) -> None:
        ec2 = there(place, "ec2")
        with refused("InvalidParameterValue", "sourceRegion"):
            ec2.copy_snapshot(SourceRegion="eu-west-1", SourceSnapshotId=source)
        with refused("InvalidSnapshot.NotFound"):
            ec2.copy_snapshot(SourceRegion="local-3", SourceSnapshotId=source)
        pending = client("ebs", place.endpoint_url).start_snapshot(VolumeSize=1)["SnapshotId"]
        with refused("IncorrectState"):
            ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=pending)
        with refused("DryRunOperation"):
            ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=source, DryRun=True)

    def test_as_many_at_once_as_the_quota_lets(self, place: Status, source: str) -> None:
        ec2 = there(place, "ec2", "local-3")
        rules = (
            {"fault": "course", "operation": "CopySnapshot", "outcome": "stalled", "seconds": 60, "at": 40, "times": 2},
            {"fault": "quota", "quota": "L-LOCAL002", "value": 2},
        )
        with faults(place.endpoint_url, *rules):
            copies = [ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=source)["SnapshotId"] for _ in range(2)]
            with refused("ResourceLimitExceeded", "Too many snapshot copies in progress. The limit is 2"):
                ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=source)
        assert described(ec2, copies[0])["State"] == "pending"
        ec2.delete_snapshot(SnapshotId=copies[0])


class TestImages:
    def test_a_copy_is_the_same_image_elsewhere(self, place: Status, here: Any, source: str, name: str) -> None:
        tags = [{"ResourceType": "image", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}]
        first = register(
            here, name, source, Description="d", EnaSupport=True, BootMode="uefi", TpmSupport="v2.0",
            ImdsSupport="v2.0", UefiData="QU1aTlVFRkk=", TagSpecifications=tags,
        )  # fmt: skip
        here.modify_image_attribute(ImageId=first, LaunchPermission={"Add": [{"UserId": FRIEND}]})
        here.enable_image_deregistration_protection(ImageId=first)
        ec2 = there(place, "ec2")
        copied = ec2.copy_image(
            SourceRegion="us-east-1",
            SourceImageId=first,
            Name=name,
            CopyImageTags=True,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": [{"Key": "b", "Value": "3"}]},
                {"ResourceType": "snapshot", "Tags": [{"Key": "c", "Value": "4"}]},
            ],
        )["ImageId"]
        before, after = image_of(here, first), image_of(ec2, copied)
        own = ("ImageId", "CreationDate", "Tags", "BlockDeviceMappings", "DeregistrationProtection")
        assert {each: value for each, value in after.items() if each not in own} == {
            **{each: value for each, value in before.items() if each not in own},
            "SourceImageId": first,
            "SourceImageRegion": "us-east-1",
        }
        assert after["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "3"}]
        volume = after["BlockDeviceMappings"][0]["Ebs"]
        assert {**volume, "SnapshotId": source} == before["BlockDeviceMappings"][0]["Ebs"]
        its = described(ec2, volume["SnapshotId"])
        assert its["Tags"] == [{"Key": "c", "Value": "4"}]
        assert its["Description"].startswith(f"Copied for DestinationAmi {copied} from SourceAmi {first}")
        assert content_of(there(place, "ebs"), volume["SnapshotId"]) == BLOCKS
        attribute = ec2.describe_image_attribute(ImageId=copied, Attribute="uefiData")
        assert attribute["UefiData"]["Value"] == "QU1aTlVFRkk="
        assert ec2.describe_image_attribute(ImageId=copied, Attribute="launchPermission")["LaunchPermissions"] == []
        with refused("InvalidAMIName.Duplicate"):
            ec2.copy_image(SourceRegion="local", SourceImageId=first, Name=name)

    def test_it_is_pending_until_its_course_is_over(self, place: Status, here: Any, source: str, name: str) -> None:
        first, ec2 = register(here, name, source), there(place, "ec2")
        with faults(place.endpoint_url, {"fault": "course", "operation": "CopyImage", "seconds": 1.0}):
            copied = ec2.copy_image(SourceRegion="local", SourceImageId=first, Name=name)["ImageId"]
        begun = image_of(ec2, copied)
        assert begun["State"] == "pending"
        snapshot_id = begun["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        assert described(ec2, snapshot_id)["State"] == "pending"
        with refused("InvalidAMIID.Unavailable"):
            ec2.modify_image_attribute(ImageId=copied, LaunchPermission={"Add": [{"UserId": FRIEND}]})
        seen = []
        while (state := image_of(ec2, copied)["State"]) == "pending":
            seen.append(int(described(ec2, snapshot_id)["Progress"].rstrip("%")))
            time.sleep(0.05)
        assert (state, seen == sorted(seen), max(seen) < 100) == ("available", True, True)
        assert described(ec2, snapshot_id)["State"] == "completed"

    def test_one_that_fails_and_one_that_stalls(self, place: Status, here: Any, source: str, name: str) -> None:
        first, ec2 = register(here, name, source), there(place, "ec2")
        rules = (
            {"fault": "course", "operation": "CopyImage", "outcome": "error", "at": 0, "message": "Disk", "times": 1},
            {"fault": "course", "operation": "CopyImage", "outcome": "stalled", "at": 40, "after": 1},
        )
        with faults(place.endpoint_url, *rules):
            failed, stalled = (
                ec2.copy_image(SourceRegion="local", SourceImageId=first, Name=f"{name}-{each}")["ImageId"]
                for each in (1, 2)
            )
        image = image_of(ec2, failed)
        assert (image["State"], image["StateReason"]["Message"]) == ("failed", "Disk")
        assert described(ec2, image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])["StateMessage"] == "Disk"
        image = image_of(ec2, stalled)
        assert image["State"] == "pending"
        assert described(ec2, image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])["Progress"] == "40%"
        filters = [{"Name": "state", "Values": ["failed"]}, {"Name": "source-image-id", "Values": [first]}]
        assert [each["ImageId"] for each in ec2.describe_images(Filters=filters)["Images"]] == [failed]

    def test_a_client_token_makes_it_once(self, place: Status, here: Any, source: str, name: str) -> None:
        first, ec2 = register(here, name, source), there(place, "ec2")
        wanted = {"SourceRegion": "local", "SourceImageId": first, "Name": name, "ClientToken": name}
        assert ec2.copy_image(**wanted)["ImageId"] == ec2.copy_image(**wanted)["ImageId"]
        with refused("IdempotentParameterMismatch"):
            ec2.copy_image(**{**wanted, "Description": "other"})

    def test_of_another_account(self, place: Status, here: Any, source: str, name: str) -> None:
        """What it was given to launch it may copy only with the snapshot."""
        first = register(here, name, source)
        here.modify_image_attribute(ImageId=first, LaunchPermission={"Add": [{"UserId": FRIEND}]})
        ec2 = there(place, "ec2", key=FRIEND)
        with refused("InvalidRequest", "permission to access the storage"):
            ec2.copy_image(SourceRegion="local", SourceImageId=first, Name=name)
        here.modify_snapshot_attribute(SnapshotId=source, CreateVolumePermission={"Add": [{"UserId": FRIEND}]})
        copied = image_of(ec2, ec2.copy_image(SourceRegion="local", SourceImageId=first, Name=name)["ImageId"])
        assert (copied["OwnerId"], copied["State"]) == (FRIEND, "available")
        with refused("InvalidAMIID.NotFound"):
            ec2.copy_image(SourceRegion="local", SourceImageId=register(here, f"{name}-2", source), Name=name)


class TestImports:
    def test_a_disk_becomes_a_snapshot(self, place: Status, here: Any, bucket: str) -> None:
        disk = block(0) + os.urandom(BLOCK) + block(0) + b"the end"
        client("s3", place.endpoint_url).put_object(Bucket=bucket, Key="disk.raw", Body=disk)
        answer = here.import_snapshot(
            Description="d",
            DiskContainer={"Format": "RAW", "UserBucket": {"S3Bucket": bucket, "S3Key": "disk.raw"}},
            TagSpecifications=[{"ResourceType": "import-snapshot-task", "Tags": [{"Key": "a", "Value": "1"}]}],
            ClientToken="once",
        )
        (task,) = here.describe_import_snapshot_tasks(ImportTaskIds=[answer["ImportTaskId"]])["ImportSnapshotTasks"]
        detail = task["SnapshotTaskDetail"]
        assert (task["Tags"], detail["Status"]) == ([{"Key": "a", "Value": "1"}], "completed")
        assert detail["DiskImageSize"] == len(disk)
        content = content_of(client("ebs", place.endpoint_url), detail["SnapshotId"])
        assert content == {1: disk[BLOCK : 2 * BLOCK], 3: b"the end".ljust(BLOCK, b"\0")}
        again = here.import_snapshot(
            Description="d",
            DiskContainer={"Format": "RAW", "UserBucket": {"S3Bucket": bucket, "S3Key": "disk.raw"}},
            ClientToken="once",
        )
        assert again["ImportTaskId"] == answer["ImportTaskId"]

    def test_one_of_parts_with_its_course(self, place: Status, here: Any, bucket: str) -> None:
        s3 = client("s3", place.endpoint_url)
        content = os.urandom(5 << 20) + os.urandom(100)
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
        parts = []
        for number, part in enumerate((content[: 5 << 20], content[5 << 20 :]), 1):
            etag = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=part)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
        container = {"Format": "raw", "Url": f"s3://{bucket}/parts"}

        def detail(task: str) -> dict[str, Any]:
            (found,) = here.describe_import_snapshot_tasks(ImportTaskIds=[task])["ImportSnapshotTasks"]
            return dict(found["SnapshotTaskDetail"])

        rules = (
            {"fault": "course", "operation": "ImportSnapshot", "seconds": 0.5, "times": 1},
            {"fault": "course", "operation": "ImportSnapshot", "outcome": "error", "at": 0, "message": "No", "after": 1,
             "times": 1},
            {"fault": "course", "operation": "ImportSnapshot", "outcome": "stalled", "at": 7, "after": 2},
        )  # fmt: skip
        with faults(place.endpoint_url, *rules):
            slow, bad, stuck = (here.import_snapshot(DiskContainer=container)["ImportTaskId"] for _ in range(3))
        assert detail(slow)["Status"] == "active"
        assert (detail(bad)["Status"], detail(bad)["StatusMessage"]) == ("deleted", "No")
        assert (detail(stuck)["Status"], detail(stuck)["Progress"]) == ("active", "7")
        assert here.cancel_import_task(ImportTaskId=stuck, CancelReason="enough")["State"] == "deleted"
        assert detail(stuck)["StatusMessage"] == "enough"
        while (found := detail(slow))["Status"] == "active":
            time.sleep(0.05)
        blocks = content_of(client("ebs", place.endpoint_url), found["SnapshotId"])
        assert b"".join(blocks[each] for each in sorted(blocks)).rstrip(b"\0") == content.rstrip(b"\0")

    @pytest.mark.parametrize(
        ("container", "saying"),
        [
            pytest.param({"Format": "VMDK", "Url": "s3://imports/x"}, "RAW", id="another format"),
            pytest.param({"Format": "RAW"}, "UserBucket", id="no place"),
            pytest.param({"Format": "RAW", "Url": "http://x/y"}, "UserBucket", id="no bucket"),
            pytest.param({"Format": "RAW", "Url": "s3://imports/none"}, "does not exist", id="no object"),
        ],
    )
    def test_refusals(self, container: Any, saying: str, here: Any, bucket: str) -> None:
        with refused("InvalidParameter", saying):
            here.import_snapshot(DiskContainer=container)


def test_a_copy_goes_on_over_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as status:
        first = snapshot(client("ebs", status.endpoint_url), BLOCKS)
        ec2 = there(status, "ec2")
        with faults(status.endpoint_url, {"fault": "course", "operation": "CopySnapshot", "seconds": 3.0}):
            copied = ec2.copy_snapshot(SourceRegion="local", SourceSnapshotId=first)["SnapshotId"]
        assert described(ec2, copied)["State"] == "pending"
        os.kill(status.pid, signal.SIGKILL)
        status = control.start(tmp_path)
        ec2 = there(status, "ec2")
        deadline = time.monotonic() + 20
        while described(ec2, copied)["State"] == "pending" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert content_of(there(status, "ebs"), copied) == BLOCKS
