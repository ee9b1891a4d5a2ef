"""The RegisterImage call that an ec2-register line makes."""

from typing import Any

import pytest

from builder.classic.command import parse
from builder.classic.register import COMMAND, request
from builder.errors import RecipeError


def asked(*words: str) -> dict[str, Any]:
    return request(parse(COMMAND, words, {}))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(
            ["infoweek-test/infoweek-test.fs.manifest.xml"],
            {"Name": "infoweek-test/infoweek-test.fs", "ImageLocation": "infoweek-test/infoweek-test.fs.manifest.xml"},
            id="the article's line",
        ),
        pytest.param(
            ["/b//p/x.manifest.xml"],
            {"Name": "b/p/x", "ImageLocation": "b/p/x.manifest.xml"},
            id="slashes too many",
        ),
        pytest.param(["s3://b/x.xml"], {"Name": "b/x.xml", "ImageLocation": "b/x.xml"}, id="an address"),
        pytest.param(
            ["b/a+b,c.manifest.xml"], {"Name": "b/a-b-c", "ImageLocation": "b/a+b,c.manifest.xml"}, id="letters"
        ),
        pytest.param(
            [
                "b/x.manifest.xml", "-n", "web", "-d", "a server", "-a", "i386", "--kernel", "aki-1", "--ramdisk",
                "ari-1", "--root-device-name", "/dev/sda1", "--virtualization-type", "hvm", "--sriov", "simple",
                "-b", "/dev/sdb=ephemeral0", "-b", "/dev/sdc=none",
            ],
            {
                "Name": "web",
                "ImageLocation": "b/x.manifest.xml",
                "Description": "a server",
                "Architecture": "i386",
                "KernelId": "aki-1",
                "RamdiskId": "ari-1",
                "RootDeviceName": "/dev/sda1",
                "VirtualizationType": "hvm",
                "SriovNetSupport": "simple",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
                    {"DeviceName": "/dev/sdc", "NoDevice": ""},
                ],
            },
            id="everything",
        ),
        pytest.param(
            ["-n", "web", "-s", "snap-1"],
            {
                "Name": "web",
                "RootDeviceName": "/dev/sda1",
                "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-1"}}],
            },
            id="a snapshot",
        ),
    ],
)  # fmt: skip
def test_request(words: list[str], expected: dict[str, Any]) -> None:
    assert asked(*words) == expected


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param([], "neither a manifest nor a snapshot", id="nothing"),
        pytest.param(["b/x", "-s", "snap-1"], "not both", id="both"),
        pytest.param(["-s", "snap-1"], "needs a name", id="snapshot without a name"),
        pytest.param(["disk.img.manifest.xml"], "is no manifest in S3", id="a file here"),
        pytest.param([f"b/{'x' * 130}.manifest.xml"], "it has 132 characters", id="too long a path"),
        pytest.param(["b/x", "-n", "ab"], '"ab" cannot be the name of an AMI: it has 2 char', id="short name"),
        pytest.param(["b/x", "-b", "sdb"], "-b, --block-device-mapping: .* is no mapping", id="mapping"),
        pytest.param(["b/x", "-a", "arm64"], "is none of i386, x86_64", id="architecture"),
    ],
)
def test_no_request(words: list[str], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        asked(*words)
