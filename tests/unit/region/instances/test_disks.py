"""Disks of the instance store: who says where they are, one over the other."""

from typing import Any

import pytest

from builder.catalog.instance_types import instance_type
from builder.region.ec2.instances.disks import MappedDisk, check_overrides, mapped, short
from builder.region.errors import ServiceError

EPHEMERAL = MappedDisk(virtual="ephemeral0", device="sda2", size_gb=160, kind="ext3")
SWAP = MappedDisk(virtual="swap", device="sda3", size_gb=1, kind="swap")


def disks(name: str = "m1.small", **said: Any) -> tuple[MappedDisk, ...]:
    return mapped(instance_type(name), root="/dev/sda1", **said)


def moved(disk: MappedDisk, device: str) -> MappedDisk:
    return MappedDisk(virtual=disk.virtual, device=device, size_gb=disk.size_gb, kind=disk.kind)


def test_the_types_own() -> None:
    assert disks() == (EPHEMERAL, SWAP)
    assert [(each.device, each.virtual, each.kind) for each in disks("m1.xlarge")] == [
        ("sdb", "ephemeral0", "ext3"),
        ("sdc", "ephemeral1", "none"),
        ("sdd", "ephemeral2", "none"),
        ("sde", "ephemeral3", "none"),
    ]
    assert disks("t1.micro") == ()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"manifest": (("ami", "sda1"), ("root", "/dev/sda1"))}, (EPHEMERAL, SWAP), id="nothing-new"),
        pytest.param({"manifest": (("ephemeral0", "sdb"),)}, (SWAP, moved(EPHEMERAL, "sdb")), id="by-the-manifest"),
        pytest.param(
            {"manifest": (("ephemeral0", "sdb"),), "image": ({"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},)},
            (SWAP, moved(EPHEMERAL, "sdc")),
            id="by-the-image-over-the-manifest",
        ),
        pytest.param(
            {
                "image": ({"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},),
                "wanted": ({"DeviceName": "xvdf", "VirtualName": "ephemeral0"},),
            },
            (SWAP, moved(EPHEMERAL, "sdf")),
            id="by-the-call-over-the-image",
        ),
        pytest.param({"wanted": ({"DeviceName": "/dev/sda2", "NoDevice": ""},)}, (SWAP,), id="taken-away"),
        pytest.param({"wanted": ({"DeviceName": "/dev/sdz", "NoDevice": ""},)}, (EPHEMERAL, SWAP), id="was-not-there"),
        pytest.param(
            {"wanted": ({"DeviceName": "/dev/sdb", "VirtualName": "ephemeral7"},)},
            (EPHEMERAL, SWAP),
            id="a-disk-that-the-type-does-not-have",
        ),
        pytest.param(
            {"wanted": ({"DeviceName": "/dev/sda2", "VirtualName": "swap"},)}, (moved(SWAP, "sda2"),), id="in-its-place"
        ),
        pytest.param(
            {"wanted": ({"DeviceName": "/dev/sda1", "VirtualName": "ephemeral0"},)}, (SWAP,), id="never-over-the-root"
        ),
    ],
)
def test_said_later_counts(said: dict[str, Any], expected: tuple[MappedDisk, ...]) -> None:
    assert disks(**said) == expected


@pytest.mark.parametrize(
    ("mappings", "code"),
    [
        pytest.param([{"VirtualName": "swap"}], "MissingParameter", id="no-name"),
        pytest.param([{"DeviceName": "../sda2", "NoDevice": ""}], "InvalidBlockDeviceMapping", id="path"),
        pytest.param([{"DeviceName": "/dev/sdb"}], "InvalidBlockDeviceMapping", id="nothing"),
        pytest.param([{"DeviceName": "sdb", "VirtualName": "disk"}], "InvalidBlockDeviceMapping", id="unknown"),
        pytest.param(
            [{"DeviceName": "/dev/sdb", "NoDevice": ""}, {"DeviceName": "xvdb", "NoDevice": ""}],
            "InvalidBlockDeviceMapping",
            id="twice",
        ),
    ],
)
def test_refused(mappings: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(ServiceError) as caught:
        check_overrides(mappings)
    assert caught.value.code == code


def test_short() -> None:
    assert [short(each) for each in ("/dev/sda1", "xvda1", "sdb", "/dev/xvdb")] == ["sda1", "sda1", "sdb", "sdb"]


def test_nvme_disks_are_there_unasked() -> None:
    """They have no names but the kernel's, and a mapping does not change that (EC2 User Guide, "NVMe")."""
    found = mapped(
        instance_type("m5d.large"),
        root="/dev/xvda",
        wanted=[{"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"}],
        volumes=True,
    )
    assert found == (MappedDisk(virtual="ephemeral0", device="", size_gb=75, kind="none"),)


def test_an_image_on_a_volume_has_only_what_is_mapped() -> None:
    kind = instance_type("m3.medium")
    assert mapped(kind, root="/dev/xvda", volumes=True) == ()
    asked = [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]
    (found,) = mapped(kind, root="/dev/xvda", wanted=asked, volumes=True)
    assert (found.virtual, found.device) == ("ephemeral0", "sdb")
