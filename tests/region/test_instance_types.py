"""DescribeInstanceTypes, over HTTP and against the catalogue."""

import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from builder.catalog import instance_types
from builder.region.ec2.instance_types import FILTERS
from tests.support.regions import WithoutPower, client, refused, region_at, served


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with served(region_at(tmp_path_factory.mktemp("region"), WithoutPower)) as url:
        yield client("ec2", url)


def names(ec2: Any, **filters: str) -> list[str]:
    wanted = [{"Name": name.replace("__", ".").replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    pages = ec2.get_paginator("describe_instance_types").paginate(Filters=wanted)
    return [each["InstanceType"] for page in pages for each in page["InstanceTypes"]]


def test_the_default_type(ec2: Any) -> None:
    (found,) = ec2.describe_instance_types(InstanceTypes=["m1.small"])["InstanceTypes"]
    assert found == {
        "InstanceType": "m1.small",
        "SupportedRootDeviceTypes": ["ebs", "instance-store"],
        "SupportedVirtualizationTypes": ["hvm", "paravirtual"],
        "BareMetal": False,
        "Hypervisor": "xen",
        "ProcessorInfo": {"SupportedArchitectures": ["i386", "x86_64"]},
        "VCpuInfo": {"DefaultVCpus": 1},
        "MemoryInfo": {"SizeInMiB": 1740},
        "InstanceStorageSupported": True,
        "InstanceStorageInfo": {
            "TotalSizeInGB": 160,
            "Disks": [{"SizeInGB": 160, "Count": 1, "Type": "hdd"}],
            "NvmeSupport": "unsupported",
        },
    }


def test_types_with_several_disks_and_none(ec2: Any) -> None:
    wanted = ["i3.16xlarge", "c5.metal", "c1.xlarge"]
    found = {each["InstanceType"]: each for each in ec2.describe_instance_types(InstanceTypes=wanted)["InstanceTypes"]}
    assert found["c1.xlarge"]["InstanceStorageInfo"]["Disks"] == [{"SizeInGB": 420, "Count": 4, "Type": "hdd"}]
    assert found["i3.16xlarge"]["InstanceStorageInfo"] == {
        "TotalSizeInGB": 15200,
        "Disks": [{"SizeInGB": 1900, "Count": 8, "Type": "ssd"}],
        "NvmeSupport": "required",
    }
    assert (found["c5.metal"]["BareMetal"], "InstanceStorageInfo" in found["c5.metal"]) == (True, False)


def test_all_of_them_page_by_page(ec2: Any) -> None:
    first = ec2.describe_instance_types()
    assert (len(first["InstanceTypes"]), "NextToken" in first) == (100, True)
    assert names(ec2) == list(instance_types.names())
    small = ec2.describe_instance_types(MaxResults=5)
    rest = ec2.describe_instance_types(MaxResults=5, NextToken=small["NextToken"])
    assert not {each["InstanceType"] for each in small["InstanceTypes"]} & {
        each["InstanceType"] for each in rest["InstanceTypes"]
    }


def test_filters(ec2: Any) -> None:
    assert names(ec2, instance_type="m1.*") == ["m1.large", "m1.medium", "m1.small", "m1.xlarge"]
    assert names(ec2, supported_virtualization_type="paravirtual", processor_info__supported_architecture="i386") == [
        "c1.medium", "c3.large", "m1.medium", "m1.small", "t1.micro",
    ]  # fmt: skip
    assert names(ec2, memory_info__size_in_mib="1740", vcpu_info__default_vcpus="2") == ["c1.medium"]
    assert names(ec2, hypervisor="xen", instance_storage_supported="false") == ["t1.micro"]
    assert names(ec2, current_generation="true") == []


def test_every_filter_of_the_reference() -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    text = model.operation_model("DescribeInstanceTypes").input_shape.members["Filters"].documentation
    assert set(re.findall(r"<code>([a-z0-9.-]+)</code> -", text)) == FILTERS.keys()


def test_refusals(ec2: Any) -> None:
    with refused("InvalidInstanceType", "do not exist: [m1.tiny, z9.huge]"):
        ec2.describe_instance_types(InstanceTypes=["z9.huge", "m1.small", "m1.tiny"])
    with refused("InvalidNextToken"):
        ec2.describe_instance_types(NextToken="nonsense")
    with refused("InvalidParameterCombination"):
        ec2.describe_instance_types(InstanceTypes=["m1.small"], MaxResults=5)
    with refused("InvalidParameterValue", "'colour' is invalid"):
        names(ec2, colour="red")
