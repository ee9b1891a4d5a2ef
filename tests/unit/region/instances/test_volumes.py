"""The volume that an instance's root is: what the image and RunInstances say of it together."""

from pathlib import Path
from typing import Any

import pytest

from builder.region.ec2.instances.volumes import made, wanted
from builder.region.ec2.region import StoredImage
from builder.region.errors import ServiceError
from builder.region.volumes import Volumes

ROOT = {"SnapshotId": "snap-01", "VolumeSize": 2, "VolumeType": "gp3", "DeleteOnTermination": True, "Encrypted": False}


def image(*mappings: dict[str, Any]) -> StoredImage:
    record = {"ImageId": "ami-1", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": list(mappings)}
    return StoredImage(record=record, state="available", tags={}, users=frozenset(), public=False)


EBS = image({"DeviceName": "/dev/xvda", "Ebs": ROOT}, {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"})


def test_as_the_image_says() -> None:
    expected = {"DeviceName": "/dev/xvda", "SnapshotId": "snap-01", "Size": 2, "VolumeType": "gp3", "Encrypted": False}
    assert wanted(EBS, ()) == [expected]
    (volume,) = made(wanted(EBS, ()))
    assert (volume["VolumeId"][:5], len(volume["VolumeId"])) == ("vol-0", 21)
    assert {**volume, "VolumeId": "", "AttachTime": ""} == {**expected, "VolumeId": "", "AttachTime": ""}


def test_a_larger_one_of_another_kind() -> None:
    larger = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9, "VolumeType": "io2", "Iops": 100}}
    (volume,) = wanted(EBS, [larger])
    assert (volume["Size"], volume["VolumeType"], volume["Iops"]) == (9, "io2", 100)


def test_an_image_of_the_instance_store_has_none() -> None:
    assert wanted(image(), [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]) == []


@pytest.mark.parametrize(
    ("found", "mapping", "code"),
    [
        pytest.param(EBS, {"DeviceName": "xvda", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping", id="smaller"),
        pytest.param(
            EBS, {"DeviceName": "xvda", "Ebs": {"VolumeSize": 65537}}, "InvalidBlockDeviceMapping", id="too-large"
        ),
        pytest.param(
            EBS, {"DeviceName": "xvda", "Ebs": {"SnapshotId": "snap-02"}}, "InvalidBlockDeviceMapping", id="another"
        ),
        pytest.param(
            EBS, {"DeviceName": "xvda", "Ebs": {"DeleteOnTermination": False}}, "UnsupportedOperation", id="kept"
        ),
        pytest.param(EBS, {"DeviceName": "xvdf", "Ebs": {"VolumeSize": 1}}, "UnsupportedOperation", id="one-more"),
        pytest.param(
            image(), {"DeviceName": "xvda", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping", id="no-volume"
        ),
    ],
)
def test_refused(found: StoredImage, mapping: dict[str, Any], code: str) -> None:
    with pytest.raises(ServiceError) as caught:
        wanted(found, [mapping])
    assert caught.value.code == code


def test_a_volume_outlives_its_snapshot(tmp_path: Path) -> None:
    """It is a link to the snapshot's file; asked for again, the snapshot is not needed any more."""
    snapshot = tmp_path / "snap-01.raw"
    snapshot.write_bytes(b"content")
    volumes = Volumes(tmp_path / "volumes")
    volume = {"VolumeId": "vol-01", "SnapshotId": "snap-01", "DeviceName": "/dev/xvda", "Size": 2}
    disk = volumes.disk(volume, lambda identifier: tmp_path / f"{identifier}.raw")
    snapshot.unlink()
    assert disk.base.read_bytes() == b"content"
    assert (disk.device, disk.size, disk.serial) == ("xvda", 2 << 30, "vol01")
    assert volumes.disk(volume, lambda identifier: tmp_path / "nowhere") == disk
    volumes.keep_only({"vol-01"})
    assert disk.base.exists()
    volumes.keep_only(())
    assert list((tmp_path / "volumes").iterdir()) == []
