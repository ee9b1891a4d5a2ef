"""Each rule refuses what EC2 refuses, and names the place where EC2 says so."""

import dataclasses
from typing import Any

import pytest
from botocore.session import Session

from builder.errors import RecipeError
from builder.stages.register.rules import Fault, faults, refuse
from builder.stages.register.spec import RegisterSpec, RootVolume
from tests.support.registered import PV

HVM = dataclasses.replace(
    PV,
    virtualization="hvm",
    kernel_id="",
    root_device_name="/dev/xvda",
    block_device_mappings=(("/dev/sdb", "ephemeral0"),),
    volume=RootVolume(),
    ena=True,
    boot_mode="uefi-preferred",
    imds="v2.0",
)
API = "EC2 API reference, RegisterImage"
PARAVIRTUAL = "EC2 User Guide, Linux AMI virtualization types"
BOOT = "EC2 User Guide, Instance launch behavior with Amazon EC2 boot modes"
EBS = "EC2 API reference, EbsBlockDevice"
DEVICE = "BlockDeviceMappings.DeviceName"


@pytest.mark.parametrize("spec", [PV, HVM, dataclasses.replace(HVM, boot_mode="uefi", tpm="v2.0", uefi_data="QU1a")])
def test_what_ec2_takes(spec: RegisterSpec) -> None:
    assert faults(spec) == ()
    refuse(spec)


def fault(field: str, what: str, rule: str) -> Fault:
    return Fault(field=field, what=what, rule=rule)


@pytest.mark.parametrize(
    ("spec", "changes", "expected"),
    [
        (PV, {"name": "a"}, fault("Name", '"a" is not 3 to 128 letters, digits, spaces and ()[]./-\'@_', API)),
        (PV, {"description": "x" * 256}, fault("Description", "it has 256 characters, of 255", API)),
        (PV, {"ena": True}, fault("EnaSupport", "it is supported for HVM only", API)),
        (PV, {"sriov": "simple"}, fault("SriovNetSupport", "it is supported for HVM only", API)),
        (PV, {"boot_mode": "uefi"}, fault("BootMode", "a paravirtual guest has no firmware", PARAVIRTUAL)),
        (
            PV,
            {"architecture": "arm64"},
            fault("Architecture", "paravirtual guests are i386 or x86_64, not arm64", PARAVIRTUAL),
        ),
        (
            HVM,
            {"kernel_id": "aki-919dcaf8"},
            fault(
                "KernelId", "an HVM guest boots from its own disk, and takes no kernel or RAM disk image", PARAVIRTUAL
            ),
        ),
        (
            HVM,
            {"tpm": "v2.0"},
            fault(
                "TpmSupport",
                "a TPM needs the boot mode uefi, not uefi-preferred",
                "EC2 User Guide, Requirements for using NitroTPM",
            ),
        ),
        (
            HVM,
            {"boot_mode": "", "uefi_data": "QU1a"},
            fault("UefiData", "it is of use with UEFI only, not the boot mode of the instance type", BOOT),
        ),
        (HVM, {"uefi_data": "?"}, fault("UefiData", "it is not base64", API)),
        (HVM, {"uefi_data": "AAAA" * 16001}, fault("UefiData", "it has 64004 characters, of 64000", API)),
        (
            HVM,
            {"architecture": "arm64", "boot_mode": "legacy-bios"},
            fault("BootMode", "instances of arm64 have UEFI only", BOOT),
        ),
        (
            HVM,
            {"volume": None},
            fault("BootMode", "it is for instances of the Nitro system, which start from EBS only", BOOT),
        ),
        (
            HVM,
            {"root_device_name": ""},
            fault("RootDeviceName", "an AMI that starts from EBS has to say which device its snapshot is for", API),
        ),
        (
            HVM,
            {"billing_products": ("6fa54006",)},
            fault("BillingProducts", '"6fa54006" is no billing product code (bp-...)', API),
        ),
        (HVM, {"imds": "v1.0"}, fault("ImdsSupport", '"v1.0" is none of v2.0', API)),
        (HVM, {"sriov": "on"}, fault("SriovNetSupport", '"on" is none of simple', API)),
        (
            HVM,
            {"tags": (("aws:owner", "x"),)},
            fault(
                "TagSpecifications",
                'the tag "aws:owner" begins with aws:, which is AWS\'s own',
                "EC2 User Guide, Tag restrictions",
            ),
        ),
        (
            HVM,
            {"block_device_mappings": (("/dev/nvme1n1", "ephemeral0"),)},
            fault(DEVICE, '"/dev/nvme1n1" is no device of EC2', "EC2 User Guide, Device names for volumes"),
        ),
        (
            HVM,
            {"block_device_mappings": (("/dev/sdb", "ephemeral24"),)},
            fault(
                "BlockDeviceMappings.VirtualName",
                '"ephemeral24" is none of ephemeral0 to ephemeral23',
                "EC2 API reference, BlockDeviceMapping",
            ),
        ),
        (
            HVM,
            {"block_device_mappings": (("/dev/xvda", "ephemeral0"),)},
            fault(DEVICE, "/dev/xvda is mapped twice", "EC2 API reference, BlockDeviceMapping"),
        ),
    ],
    ids=lambda value: "" if not isinstance(value, dict) else "-".join(value),
)
def test_what_ec2_refuses(spec: RegisterSpec, changes: dict[str, Any], expected: Fault) -> None:
    assert expected in faults(dataclasses.replace(spec, **changes))


@pytest.mark.parametrize(
    ("volume", "field", "what"),
    [
        ({"type": "sc1"}, "VolumeType", "sc1 cannot be a root volume"),
        ({"type": "gp4"}, "VolumeType", '"gp4" is none of gp2, gp3, io1, io2, standard'),
        ({"size": 4}, "VolumeSize", "4 GiB are less than the 8 GiB of the snapshot"),
        ({"type": "standard", "size": 2000}, "VolumeSize", "standard has 1 to 1024 GiB, not 2000"),
        ({"type": "io2"}, "Iops", "io2 needs it"),
        ({"type": "gp2", "iops": 3000}, "Iops", "it is not supported for gp2"),
        ({"iops": 2999}, "Iops", "gp3 has 3000 to 80000, not 2999"),
        ({"iops": 5000}, "Iops", "gp3 has up to 500 for each GiB, and 5000 for 8 GiB are more"),
        ({"type": "io1", "iops": 500}, "Iops", "io1 has up to 50 for each GiB, and 500 for 8 GiB are more"),
        ({"type": "gp2", "throughput": 200}, "Throughput", "it is for gp3 only, not for gp2"),
        ({"throughput": 100}, "Throughput", "gp3 has 125 to 2000 MiB/s, not 100"),
        ({"throughput": 1000}, "Throughput", "1000 MiB/s need 4000 IOPS: gp3 has 0.25 MiB/s for each"),
    ],
)
def test_volumes_that_ec2_refuses(volume: dict[str, Any], field: str, what: str) -> None:
    spec = dataclasses.replace(HVM, volume=RootVolume(**volume))
    found = [(each.field, each.what) for each in faults(spec, snapshot_size=8)]
    assert found == [(f"BlockDeviceMappings.Ebs.{field}", what)]


@pytest.mark.parametrize(
    "volume",
    [
        RootVolume(iops=3000, throughput=750),
        RootVolume(size=16, iops=8000, throughput=2000),
        RootVolume(type="io2", iops=8000),
        RootVolume(type="gp2", size=100),
    ],
)
def test_volumes_that_ec2_takes(volume: RootVolume) -> None:
    assert faults(dataclasses.replace(HVM, volume=volume), snapshot_size=8) == ()


def test_all_of_it_in_one_error() -> None:
    wrong = dataclasses.replace(HVM, tpm="v2.0", kernel_id="aki-919dcaf8")
    with pytest.raises(RecipeError) as caught:
        refuse(wrong)
    assert caught.value.brief == (
        "EC2 would not register web-1: KernelId: an HVM guest boots from its own disk, "
        "and takes no kernel or RAM disk image"
    )
    assert [line.partition(":")[0] for line in caught.value.detail.splitlines()] == ["KernelId", "TpmSupport"]
    assert all(line.endswith(")") for line in caught.value.detail.splitlines())


def test_the_words_are_those_of_the_model() -> None:
    """What a field may say is botocore's: a new word there is a question for the rules."""
    shape = Session().get_service_model("ec2").operation_model("RegisterImage").input_shape
    assert shape is not None

    def words(field: str) -> list[str]:
        return list(shape.members[field].enum)  # type: ignore[attr-defined]

    assert words("BootMode") == ["legacy-bios", "uefi", "uefi-preferred"]
    assert (words("ImdsSupport"), words("TpmSupport")) == (["v2.0"], ["v2.0"])
    assert words("Architecture") == ["i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"]
    kinds = shape.members["BlockDeviceMappings"].member.members["Ebs"].members["VolumeType"].enum  # type: ignore[attr-defined]
    assert sorted(kinds) == ["gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"]
