"""Block device mappings as ec2-register's manual writes them."""

from typing import Any

import pytest

from builder.classic.block_devices import mapping
from builder.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/sdb=ephemeral0", {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}),
        ("/dev/sdc=none", {"DeviceName": "/dev/sdc", "NoDevice": ""}),
        ("/dev/sdh=snap-1", {"DeviceName": "/dev/sdh", "Ebs": {"SnapshotId": "snap-1"}}),
        ("/dev/sdh=:100", {"DeviceName": "/dev/sdh", "Ebs": {"VolumeSize": 100}}),
        (
            "/dev/sdh=snap-1:80:false:io1:1000:encrypted",
            {
                "DeviceName": "/dev/sdh",
                "Ebs": {
                    "SnapshotId": "snap-1",
                    "VolumeSize": 80,
                    "DeleteOnTermination": False,
                    "VolumeType": "io1",
                    "Iops": 1000,
                    "Encrypted": True,
                },
            },
        ),
        (
            "/dev/sdh=:10:true:gp2:encrypted",
            {
                "DeviceName": "/dev/sdh",
                "Ebs": {"VolumeSize": 10, "DeleteOnTermination": True, "VolumeType": "gp2", "Encrypted": True},
            },
        ),
    ],
)
def test_mapping(text: str, expected: dict[str, Any]) -> None:
    assert mapping(text) == expected


@pytest.mark.parametrize(
    "text", ["", "/dev/sdb", "/dev/sdb=", "=ephemeral0", "/dev/sdh=snap-1:x", "/dev/sdh=:1:maybe", "/dev/sdh=a:1:::::b"]
)
def test_no_mapping(text: str) -> None:
    with pytest.raises(RecipeError, match="is no mapping"):
        mapping(text)
