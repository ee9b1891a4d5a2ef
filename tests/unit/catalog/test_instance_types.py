import gzip
import json
from pathlib import Path

import pytest

from builder.catalog import instance_types
from builder.catalog.instance_types import Disk, InstanceType, beside_a_disk, instance_type, nearest
from builder.catalog.refresh import records, snapshot
from builder.errors import Exit, RecipeError


def hdd(virtual: str, device: str, size_gb: int, *, formatted: bool = False) -> Disk:
    return Disk(virtual=virtual, device=device, size_gb=size_gb, kind="hdd", formatted=formatted)


def test_m1_small() -> None:
    assert instance_type("m1.small") == InstanceType(
        name="m1.small",
        architectures=("i386", "x86_64"),
        virtualization=("hvm", "pv"),
        root_devices=("ebs", "instance-store"),
        memory_mib=1740,
        vcpus=1,
        disks=(hdd("ephemeral0", "sda2", 160, formatted=True), hdd("swap", "sda3", 1, formatted=True)),
    )


FOUR = tuple((f"ephemeral{index}", f"sd{letter}", 420) for index, letter in enumerate("bcde"))


@pytest.mark.parametrize(
    ("name", "disks"),
    [
        ("c1.medium", (("ephemeral0", "sda2", 350), ("swap", "sda3", 1))),
        ("m1.medium", (("ephemeral0", "sdb", 410),)),
        ("m1.large", (("ephemeral0", "sdb", 420), ("ephemeral1", "sdc", 420))),
        ("m1.xlarge", FOUR),
        ("c1.xlarge", FOUR),
        ("m2.xlarge", (("ephemeral0", "sdb", 420),)),
        ("m2.4xlarge", (("ephemeral0", "sdb", 840), ("ephemeral1", "sdc", 840))),
        ("t1.micro", ()),
        ("i4i.large", (("ephemeral0", "", 468),)),
    ],
)  # fmt: skip
def test_disks(name: str, disks: tuple[tuple[str, str, int], ...]) -> None:
    assert tuple((each.virtual, each.device, each.size_gb) for each in instance_type(name).disks) == disks


def test_what_ec2_formats() -> None:
    """ephemeral0 and swap, and neither where disks are trimmed or NVMe."""
    formatted = {
        name: [each.virtual for each in instance_type(name).disks if each.formatted]
        for name in ("m1.small", "m1.xlarge", "c3.large", "i2.xlarge", "r3.large", "i4i.large")
    }
    assert formatted == {
        "m1.small": ["ephemeral0", "swap"],
        "m1.xlarge": ["ephemeral0"],
        "c3.large": ["ephemeral0"],
        "i2.xlarge": [],
        "r3.large": [],
        "i4i.large": [],
    }


def test_every_type_reads() -> None:
    for name in instance_types.names():
        found = instance_type(name)
        devices = [disk.device for disk in found.disks if disk.device]
        assert found.name == name
        assert found.memory_mib > 0
        assert set(found.virtualization) <= {"pv", "hvm"}
        assert len(set(devices)) == len(devices)
        assert "sda1" not in devices
    assert len(instance_types.names()) > 1000
    assert instance_types.source() == "DescribeInstanceTypes, as kept by moto 5.2.5"


@pytest.mark.parametrize(
    ("name", "near"),
    [("m1.smal", "m1.small"), ("M1.SMALL", "m1.small"), ("c1-medium", "c1.medium"), ("zzzzzzzz", ""), ("", "")],
)
def test_unknown(name: str, near: str) -> None:
    assert nearest(name) == near
    with pytest.raises(RecipeError) as caught:
        instance_type(name)
    assert caught.value.exit == Exit.USAGE
    assert caught.value.brief == f'"{name}" is not an instance type' + (f'; did you mean "{near}"?' if near else "")


@pytest.mark.parametrize("name", ['source": ', 'm1.small": [', "m1.small\n", "m1", "."])
def test_no_line_is_taken_for_a_type(name: str) -> None:
    with pytest.raises(RecipeError):
        instance_type(name)


def test_refresh(tmp_path: Path) -> None:
    """A document of EC2's gives the file's lines; plain, gzip, or by name."""
    record = {
        "InstanceType": "x1.test",
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64", "i386"]},
        "SupportedVirtualizationTypes": ["paravirtual", "hvm"],
        "SupportedRootDeviceTypes": ["ebs"],
        "MemoryInfo": {"SizeInMiB": 4},
        "VCpuInfo": {"DefaultVCpus": 2},
        "InstanceStorageInfo": {"Disks": [{"Count": 2, "SizeInGB": 5, "Type": "ssd"}], "NvmeSupport": "required"},
    }
    text = '{\n"source": "here",\n"x1.test": [["i386","x86_64"],["hvm","pv"],["ebs"],4,2,[[2,5,"ssd"]],true]\n}\n'
    for document in ({"InstanceTypes": [record]}, {"x1.test": record}):
        plain = json.dumps(document).encode()
        assert snapshot(records(plain), "here") == snapshot(records(gzip.compress(plain)), "here") == text


def test_disks_beside_a_root_disk() -> None:
    """Its own partitions have the names that begin with sda; no two disks of any type share one."""
    assert beside_a_disk(instance_type("m1.small").disks) == (
        hdd("ephemeral0", "sdb", 160, formatted=True), hdd("swap", "sdc", 1, formatted=True)
    )  # fmt: skip
    assert beside_a_disk(instance_type("m1.xlarge").disks) == instance_type("m1.xlarge").disks
    for name in instance_types.names():
        devices = [each.device for each in beside_a_disk(instance_type(name).disks) if each.device]
        assert len(devices) == len(set(devices))
        assert not [each for each in devices if each.startswith("sda")]
