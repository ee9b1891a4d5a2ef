"""What tells clients that this is EC2 without VPCs: no VPCs, no subnets, and an account whose platform is EC2."""

from collections.abc import Mapping
from typing import Any

from builder.region.ec2.region import Region
from builder.region.errors import ServiceError

# As accounts of EC2-Classic were answered (API reference, DescribeAccountAttributes); there are no elastic addresses.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "supported-platforms": ("EC2",),
    "default-vpc": ("none",),
    "max-instances": ("16",),
    "max-elastic-ips": ("0",),
    "vpc-max-elastic-ips": ("0",),
    "vpc-max-security-groups-per-interface": ("0",),
}


def describe_account_attributes(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del region
    names = wanted.get("AttributeNames") or tuple(ATTRIBUTES)
    for each in names:
        if each not in ATTRIBUTES:
            raise ServiceError("InvalidParameterValue", f"Value ({each}) for parameter attributeName is invalid.")
    return {
        "AccountAttributes": [
            {
                "AttributeName": name,
                "AttributeValues": [{"AttributeValue": value} for value in ATTRIBUTES[name]],
            }
            for name in dict.fromkeys(names)
        ]
    }


def describe_vpcs(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del region
    for each in wanted.get("VpcIds") or ():
        raise ServiceError("InvalidVpcID.NotFound", f"The vpc ID '{each}' does not exist")
    return {"Vpcs": []}


def describe_subnets(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del region
    for each in wanted.get("SubnetIds") or ():
        raise ServiceError("InvalidSubnetID.NotFound", f"The subnet ID '{each}' does not exist")
    return {"Subnets": []}
