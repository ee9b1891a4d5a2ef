"""The RunInstances call that an ec2-run-instances line makes."""

from pathlib import Path
from typing import Any

import pytest

from builder.classic.command import parse
from builder.classic.run_instances import COMMAND, request
from builder.errors import RecipeError


def asked(*words: str) -> dict[str, Any]:
    return request(parse(COMMAND, words, {}))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], {}, id="the AMI alone"),
        pytest.param(["-k", "gsg-keypair"], {"KeyName": "gsg-keypair"}, id="the article's line"),
        pytest.param(["-n", "2-5"], {"MinCount": 2, "MaxCount": 5}, id="as many as there is room for"),
        pytest.param(
            ["-g", "websrv", "-g", "sg-1", "-g", "default"],
            {"SecurityGroups": ["websrv", "default"], "SecurityGroupIds": ["sg-1"]},
            id="groups",
        ),
        pytest.param(
            [
                "-n", "2", "-t", "m1.large", "-z", "us-east-1a", "-d", "role=db", "--kernel", "aki-1", "--ramdisk",
                "ari-1", "-b", "/dev/sda3=none", "-b", "/dev/sdb=ephemeral1", "-m", "--disable-api-termination",
                "--client-token", "once", "--instance-initiated-shutdown-behavior", "terminate", "-p", "web",
                "--tenancy", "default",
            ],
            {
                "MinCount": 2,
                "MaxCount": 2,
                "InstanceType": "m1.large",
                "Placement": {"AvailabilityZone": "us-east-1a", "Tenancy": "default"},
                "UserData": "role=db",
                "KernelId": "aki-1",
                "RamdiskId": "ari-1",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/sda3", "NoDevice": ""},
                    {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral1"},
                ],
                "Monitoring": {"Enabled": True},
                "DisableApiTermination": True,
                "ClientToken": "once",
                "InstanceInitiatedShutdownBehavior": "terminate",
                "IamInstanceProfile": {"Name": "web"},
            },
            id="everything",
        ),
        pytest.param(["-p", "arn:aws:iam::1:instance-profile/web"], {
            "IamInstanceProfile": {"Arn": "arn:aws:iam::1:instance-profile/web"}
        }, id="a profile's ARN"),
    ],
)  # fmt: skip
def test_request(words: list[str], expected: dict[str, Any]) -> None:
    assert asked("ami-1", *words) == {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1} | expected


def test_user_data_in_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    data = b"#!/bin/sh\n\xff\x00"
    (tmp_path / "start.sh").write_bytes(data)
    assert asked("ami-1", "-f", str(tmp_path / "start.sh"))["UserData"] == data


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["-n", "0"], '"0" is no number of instances', id="none"),
        pytest.param(["-n", "5-2"], "is no number of instances", id="backwards"),
        pytest.param(["-n", "many"], "is no number of instances", id="a word"),
        pytest.param(["-d", "x", "-f", "y"], "user data is given twice", id="twice"),
        pytest.param(["-f", "/nowhere"], "the user data /nowhere cannot be read: No such file", id="no file"),
        pytest.param(["-b", "sdb"], "is no mapping", id="mapping"),
        pytest.param(["--tenancy", "mine"], "is none of default, dedicated", id="tenancy"),
        pytest.param(["ami-2"], 'what is "ami-2" for', id="two AMIs"),
    ],
)
def test_no_request(words: list[str], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        asked("ami-1", *words)
