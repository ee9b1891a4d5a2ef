import hashlib

import pytest

from builder.catalog.certificates import (
    CERTIFICATES,
    CN_NORTH_1,
    COMMERCIAL,
    US_GOV_WEST_1,
    by_fingerprint,
    certificate_of,
)
from builder.errors import RegionError


def test_files_are_the_ones_that_ec2_ami_tools_ships() -> None:
    assert {each.path.name: hashlib.sha256(each.path.read_bytes()).hexdigest() for each in CERTIFICATES} == {
        "commercial.pem": "cae45a4d20c435b991135c5999743084addadbe8aa5fedb7dcc923ca09dcfd18",
        "us-gov-west-1.pem": "61adac8dd23f05c094c576ee729f7e4b09f59f8bf47175211e40b40a62b4145d",
        "cn-north-1.pem": "79040c4b223ce60e97002d77efd97da5eef72061b21ee05029333c3d3d054019",
    }


def test_by_region() -> None:
    assert certificate_of("us-east-1") == certificate_of("eu-central-1") == COMMERCIAL
    assert certificate_of("us-gov-west-1") == US_GOV_WEST_1
    assert certificate_of("cn-north-1") == CN_NORTH_1


@pytest.mark.parametrize("region", ["cn-northwest-1", "us-gov-east-1", "us-iso-east-1", "us-isob-east-1"])
def test_regions_without_one(region: str) -> None:
    with pytest.raises(RegionError, match=f"{region} has no published certificate"):
        certificate_of(region)


def test_by_fingerprint() -> None:
    assert [by_fingerprint(each.sha256) for each in CERTIFICATES] == list(CERTIFICATES)
    assert by_fingerprint("00") is None
