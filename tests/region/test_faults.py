"""What the region does wrong on request: refused, throttled, cut off, late, echoed wrongly; and nothing by accident."""

import json
import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from builder.region.control import Status
from tests.support.faults import control, faults
from tests.support.regions import client, refused, running
from tests.support.snapshots import block, checksum, put, snapshot


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Status]:
    with running(tmp_path_factory.mktemp("region")) as status:
        yield status


@pytest.fixture(scope="module")
def ec2(place: Status) -> Any:
    return client("ec2", place.endpoint_url)


@pytest.fixture(scope="module")
def ebs(place: Status) -> Any:
    return client("ebs", place.endpoint_url)


CALLS = {
    "ec2": lambda made: made.describe_images(),
    "ebs": lambda made: made.start_snapshot(VolumeSize=1),
    "s3": lambda made: made.list_buckets(),
    "ssm": lambda made: made.describe_parameters(),
    "sts": lambda made: made.get_caller_identity(),
    "service-quotas": lambda made: made.list_service_quotas(ServiceCode="ebs"),
}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            "throttle",
            {
                "ec2": ("RequestLimitExceeded", 503),
                "ebs": ("RequestThrottledException", 400),
                "s3": ("SlowDown", 503),
                "ssm": ("ThrottlingException", 400),
                "sts": ("Throttling", 400),
                "service-quotas": ("TooManyRequestsException", 429),
            },
        ),
        (
            "deny",
            {
                "ec2": ("UnauthorizedOperation", 403),
                "ebs": ("AccessDeniedException", 403),
                "s3": ("AccessDenied", 403),
                "ssm": ("AccessDeniedException", 403),
                "sts": ("AccessDenied", 403),
                "service-quotas": ("AccessDeniedException", 403),
            },
        ),
        (
            "error",
            {
                "ec2": ("InternalError", 500),
                "ebs": ("InternalServerException", 500),
                "s3": ("InternalError", 500),
                "ssm": ("InternalServerError", 500),
                "sts": ("InternalFailure", 500),
                "service-quotas": ("ServiceException", 500),
            },
        ),
        (
            "expired",
            {
                "ec2": ("RequestExpired", 400),
                "ebs": ("ExpiredTokenException", 400),
                "s3": ("ExpiredToken", 400),
                "ssm": ("ExpiredTokenException", 400),
                "sts": ("ExpiredToken", 400),
                "service-quotas": ("ExpiredTokenException", 400),
            },
        ),
    ],
    ids=["throttle", "deny", "error", "expired"],
)
def test_each_service_says_it_in_its_own_words(fault: str, expected: dict[str, Any], place: Status) -> None:
    with faults(place.endpoint_url, {"fault": fault}):
        for service, call in CALLS.items():
            with pytest.raises(ClientError) as caught:
                call(client(service, place.endpoint_url))
            answer = caught.value.response
            found = (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
            assert (service, found) == (service, expected[service])
    for service, call in CALLS.items():
        call(client(service, place.endpoint_url))


def test_a_denial_comes_before_a_dry_run(ec2: Any, place: Status) -> None:
    wanted = {"SourceRegion": "local", "SourceImageId": "ami-01234567", "Name": "name", "DryRun": True}
    with refused("DryRunOperation"):
        ec2.copy_image(**wanted)
    with faults(place.endpoint_url, {"fault": "deny", "service": "ec2", "operation": "Copy*"}):
        with refused("UnauthorizedOperation"):
            ec2.copy_image(**wanted)
        ec2.describe_images()


def test_after_some_and_for_so_many(ec2: Any, place: Status) -> None:
    with faults(place.endpoint_url, {"fault": "error", "operation": "DescribeImages", "after": 1, "times": 2}):
        ec2.describe_images()
        for _ in range(2):
            with refused("InternalError"):
                ec2.describe_images()
        ec2.describe_images()
        (told,) = control(place.endpoint_url)
        assert (told["met"], told["done"]) == (4, 2)


def test_a_share_of_them(ec2: Any, place: Status) -> None:
    failed = 0
    with faults(place.endpoint_url, {"fault": "error", "operation": "DescribeImages", "share": 0.2}):
        for _ in range(60):
            try:
                ec2.describe_images()
            except ClientError:
                failed += 1
    assert 4 <= failed <= 22


def test_one_region_of_them(place: Status) -> None:
    with faults(place.endpoint_url, {"fault": "error", "region": "local-2"}):
        client("ec2", place.endpoint_url).describe_images()
        with refused("InternalError"):
            client("ec2", place.endpoint_url, region="local-2").describe_images()


def test_cut_off_before_and_after(ebs: Any, place: Status) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for number, fault in enumerate(("reset", "lost")):
        with (
            faults(place.endpoint_url, {"fault": fault, "operation": "PutSnapshotBlock"}),
            pytest.raises(ConnectionClosedError),
        ):
            put(ebs, snapshot_id, number, block(1))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    assert [each["BlockIndex"] for each in listed] == [1]


def test_late(ec2: Any, place: Status) -> None:
    with faults(place.endpoint_url, {"fault": "delay", "seconds": 0.3}):
        begun = time.monotonic()
        ec2.describe_images()
        assert time.monotonic() - begun >= 0.3


def test_a_checksum_of_something_else(ebs: Any, place: Status) -> None:
    snapshot_id = snapshot(ebs, {0: block(1)})
    other = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with faults(place.endpoint_url, {"fault": "checksum", "service": "ebs"}):
        assert put(ebs, other, 0, block(1))["Checksum"] != checksum(block(1))
        token = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"][0]["BlockToken"]
        answer = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=token)
        assert (answer["Checksum"] != checksum(block(1)), answer["BlockData"].read()) == (True, block(1))


def test_a_snapshot_that_goes_to_error(ebs: Any, ec2: Any, place: Status) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    rule = {"fault": "course", "operation": "CompleteSnapshot", "outcome": "error", "at": 0, "message": "Damaged"}
    with faults(place.endpoint_url, rule):
        assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)["Status"] == "error"
    (found,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (found["State"], found["StateMessage"]) == ("error", "Damaged")


@pytest.mark.parametrize(
    ("rules", "saying"),
    [
        pytest.param({"fault": "deny"}, "list of objects", id="no list"),
        pytest.param([{"fault": "deny", "what": "x"}], 'no "what"', id="a member that is none"),
        pytest.param([{"fault": "explode"}], "no fault", id="no fault"),
        pytest.param([{"fault": "deny", "times": "2"}], '"times" is not of its type', id="no number"),
        pytest.param([{"fault": "deny", "share": 2}], "from 0 to 1", id="no share"),
        pytest.param([{"fault": "course", "outcome": "fine"}], "no outcome", id="no outcome"),
        pytest.param([{}], "fault", id="nothing"),
    ],
)
def test_rules_that_cannot_be(rules: Any, saying: str, place: Status) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        control(place.endpoint_url, "PUT", rules)
    assert (caught.value.code, saying in json.loads(caught.value.read())["message"]) == (400, True)
    assert control(place.endpoint_url) == []
