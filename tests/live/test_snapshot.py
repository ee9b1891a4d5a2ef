"""Snapshots against AWS itself: the first of a lineage, the next one with what changed, read back, registered, removed.

Never run unless asked for. It wants an account that may make snapshots and AMIs. Two snapshots of 1 GiB with a few
blocks each are stored for some minutes, and no instance is started:

    AMI_FACTORY_LIVE_REGION=us-east-1 .venv/bin/python -m pytest -m live tests/live/test_snapshot.py
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from builder.canonical import digest_of
from builder.cloud import session
from builder.cloud.ebs import Direct
from builder.cloud.ebs_download import download
from builder.formats.blocks import BlockList, block_digests, parse_blocks
from builder.stages.contract import Input, StageContext
from builder.stages.register import run as register
from builder.stages.register.spec import RegisterSpec, RootVolume
from builder.stages.snapshot.run import run
from builder.stages.snapshot.spec import SnapshotSpec
from tests.support.live import Reached, reached
from tests.support.snapshot_stage import make_image

pytestmark = pytest.mark.live

BLOCKS = {100 * each: each for each in range(20)}


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    with reached(tmp_path_factory.mktemp("live")) as found:
        yield found


@pytest.fixture
def lineage(where: Reached) -> Iterator[str]:
    """Nothing that bears this name stays: no AMI, no snapshot."""
    name = f"ami-factory-test-{secrets.token_hex(8)}"
    yield name
    ec2 = session.client("ec2", where.surroundings, where.region)
    for image in ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"])
    filters = [{"Name": "tag:ami-factory:lineage", "Values": [name]}]
    for each in ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]:
        with suppress(ClientError):
            ec2.delete_snapshot(SnapshotId=each["SnapshotId"])


def context(where: Reached, place: Path, key: str, inputs: tuple[Input, ...]) -> StageContext:
    return StageContext(
        key=digest_of(key),
        inputs=inputs,
        output=place,
        scratch=place,
        surroundings=where.surroundings,
        progress=lambda what, done, total, unit="bytes": None,
    )


def made(where: Reached, place: Path, blocks: dict[int, object], lineage: str) -> dict[str, Any]:
    image = make_image(place, blocks)
    spec = SnapshotSpec(
        partition="aws",
        account=where.account,
        region=where.region,
        endpoint="aws",
        description="a test of ami-factory",
        encrypted=False,
        kms_key="",
        lineage=lineage,
        tags=(("Name", lineage),),
    )
    given = (Input(name="image", path=image, result={}),)
    return dict(run(spec, context(where, place, f"{lineage}{place.name}", given)))


def test_what_changed_is_sent_and_comes_back(where: Reached, lineage: str, tmp_path: Path) -> None:
    first = made(where, tmp_path / "1", dict(BLOCKS), lineage)
    assert (first["method"], first["blocks_sent"], first["parent"]) == ("direct", 20, "")
    second = made(where, tmp_path / "2", {**BLOCKS, 100: "new", 7: "more"}, lineage)
    assert (second["blocks_sent"], second["parent"]) == (2, first["snapshot_id"])

    reader = Direct(lambda: session.client("ebs", where.surroundings, where.region))
    file = tmp_path / "back.img"
    download(reader, second["snapshot_id"], file, replace=True)
    with file.open("rb") as read:
        found = BlockList(block_digests(read.fileno(), file.stat().st_size))
    assert found == parse_blocks((tmp_path / "2/blocks").read_bytes())

    spec = RegisterSpec(
        partition="aws",
        account=where.account,
        region=where.region,
        endpoint="aws",
        name=lineage,
        description="a test of ami-factory",
        architecture="x86_64",
        virtualization="hvm",
        kernel_id="",
        ramdisk_id="",
        root_device_name="/dev/xvda",
        block_device_mappings=(),
        tags=(),
        volume=RootVolume(),
        ena=True,
        boot_mode="legacy-bios",
        imds="v2.0",
    )
    given = (Input(name="snapshot", path=tmp_path, result=second),)
    image = register.run(spec, context(where, tmp_path, f"{lineage}register", given))["image_id"]
    ec2 = session.client("ec2", where.surroundings, where.region)
    (described,) = ec2.describe_images(ImageIds=[image])["Images"]
    wanted = ("VirtualizationType", "RootDeviceType", "EnaSupport", "BootMode", "ImdsSupport")
    assert [described[name] for name in wanted] == ["hvm", "ebs", True, "legacy-bios", "v2.0"]
    assert described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == second["snapshot_id"]
