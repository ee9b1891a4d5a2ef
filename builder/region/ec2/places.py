"""DescribeRegions, DescribeAvailabilityZones, and STS's GetCallerIdentity: where this is, and who asks."""

from collections.abc import Mapping
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.region import NAME, OTHERS, Region
from builder.region.errors import ServiceError

ZONES = (("us-east-1a", "use1-az1"), ("us-east-1b", "use1-az2"))


def describe_regions(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of this process, all at one endpoint: the region of a request is the one that it is signed for."""
    names = (NAME, *OTHERS)
    asked = wanted.get("RegionNames") or names
    for name in asked:
        if name not in names:
            raise ServiceError("InvalidParameterValue", f"Invalid region '{name}': there are {', '.join(names)}")
    found = [
        {"RegionName": name, "Endpoint": region.host, "OptInStatus": "opt-in-not-required"}
        for name in names
        if name in asked
    ]
    values = {
        "region-name": lambda each: [each["RegionName"]],
        "endpoint": lambda each: [each["Endpoint"]],
        "opt-in-status": lambda each: [each["OptInStatus"]],
    }
    return {"Regions": matching(found, wanted.get("Filters") or (), values)}


def describe_availability_zones(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    zones = [
        {
            "ZoneName": name,
            "ZoneId": identifier,
            "RegionName": region.name,
            "State": "available",
            "ZoneType": "availability-zone",
            "GroupName": region.name,
            "NetworkBorderGroup": region.name,
            "OptInStatus": "opt-in-not-required",
            "Messages": [],
        }
        for name, identifier in (ZONES if region.name == NAME else _zones(region.name))
    ]
    for member, asked in (("ZoneName", wanted.get("ZoneNames")), ("ZoneId", wanted.get("ZoneIds"))):
        known = {str(each[member]) for each in zones}
        if unknown := sorted(set(asked or ()) - known):
            raise ServiceError("InvalidParameterValue", f"Invalid availability zone: [{unknown[0]}]")
        zones = [each for each in zones if not asked or each[member] in asked]
    members = {
        "zone-name": "ZoneName",
        "zone-id": "ZoneId",
        "region-name": "RegionName",
        "state": "State",
        "zone-type": "ZoneType",
        "group-name": "GroupName",
        "opt-in-status": "OptInStatus",
    }
    values = {name: (lambda each, member=member: [str(each[member])]) for name, member in members.items()}
    return {"AvailabilityZones": matching(zones, wanted.get("Filters") or (), values)}


def _zones(name: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{name}{letter}", f"{name.replace('-', '')}-az{number}") for number, letter in enumerate("ab", 1))


def get_caller_identity(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Whatever the credentials are, their owner is the region's one account; or amazon, when they say so."""
    del wanted
    return {
        "Account": region.account,
        "Arn": f"arn:aws:iam::{region.account}:root",
        "UserId": region.account,
    }
