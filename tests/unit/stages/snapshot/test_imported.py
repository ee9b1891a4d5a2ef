"""By way of S3, where the EBS direct API is denied: parts that arrived stay, and the import is gone on with."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from builder.cloud import session
from builder.cloud.s3_multipart import part_size
from builder.errors import RegionError
from builder.stages.snapshot import run as stage
from builder.stages.snapshot.journal import journal, unfinished
from tests.support.snapshot_stage import ACCOUNT, make_image, snapshot
from tests.support.stubs import stubbed_client

SIZE = 40 << 20
PART = 16 << 20
BUCKET = f"ami-factory-{ACCOUNT}-local"
KEY = hashlib.sha256(b"key").hexdigest()
OURS = {"Bucket": BUCKET, "ExpectedBucketOwner": ACCOUNT}
OBJECT = {**OURS, "Key": f"snapshots/{KEY}.raw"}
UPLOAD = {**OBJECT, "UploadId": "upload"}
TASK = {"ImportTaskIds": ["import-snap-1"]}


class Denies:
    """The EBS direct API of an organisation that forbids it."""

    def __init__(self, *_: Any) -> None: ...

    def start(self, *_: Any) -> str:
        from builder.cloud.ebs import Denied

        hint = "the credentials need the right to ebs:StartSnapshot"
        raise Denied("the snapshot: access denied to StartSnapshot", hint=hint)


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Stubber]]:
    for make in stubbed_client(tmp_path):
        made = {service: make(service) for service in ("ec2", "s3")}
        clients = {service: client for service, (client, _) in made.items()}
        monkeypatch.setattr(session, "client", lambda service, *_, clients=clients, **__: clients[service])
        monkeypatch.setattr(stage, "Direct", Denies)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield {service: stub for service, (_, stub) in made.items()}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "image", {0: 0, 79: 79}, size=SIZE)


@pytest.fixture
def go(tmp_path: Path, image: Path) -> Callable[[], tuple[dict[str, Any], list[str]]]:
    def run() -> tuple[dict[str, Any], list[str]]:
        notes: list[str] = []
        made = snapshot(tmp_path, "http://127.0.0.1:1", image, "key", note=notes.append, encrypted=True)
        return made, notes

    return run


def parts_of(image: Path) -> list[bytes]:
    data = (image / "disk.raw").read_bytes()
    return [data[at : at + PART] for at in range(0, SIZE, PART)]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def looked(ec2: Stubber) -> None:
    """No snapshot of the key, and none of the lineage."""
    ec2.add_response("describe_snapshots", {"Snapshots": []}, ANY_FILTER)
    ec2.add_response("describe_snapshots", {"Snapshots": []}, ANY_FILTER)


ANY_FILTER = {"OwnerIds": ["self"], "Filters": ANY}


def bucket_is_there(s3: Stubber) -> None:
    s3.add_response("head_bucket", {"BucketRegion": "us-east-1"}, OURS)


def finished(s3: Stubber, image: Path) -> None:
    told = [{"PartNumber": number, "ETag": md5(data)} for number, data in enumerate(parts_of(image), start=1)]
    s3.add_response("complete_multipart_upload", {}, {**UPLOAD, "MultipartUpload": {"Parts": told}})


def imported(ec2: Stubber, s3: Stubber, *, begin: bool = True) -> None:
    if begin:
        asked = {
            "ClientToken": ANY,
            "Description": "web 1.0",
            "DiskContainer": {"Format": "RAW", "UserBucket": {"S3Bucket": BUCKET, "S3Key": OBJECT["Key"]}},
            "Encrypted": True,
            "TagSpecifications": [
                {
                    "ResourceType": "import-snapshot-task",
                    "Tags": [
                        {"Key": "Name", "Value": "web-x86_64-hvm-t3.micro"},
                        {"Key": "ami-factory:key", "Value": KEY},
                    ],
                }
            ],
        }
        ec2.add_response("import_snapshot", {"ImportTaskId": "import-snap-1"}, asked)
    for detail in ({"Status": "active", "Progress": "42"}, {"Status": "completed", "SnapshotId": "snap-1"}):
        ec2.add_response(
            "describe_import_snapshot_tasks", {"ImportSnapshotTasks": [{"SnapshotTaskDetail": detail}]}, TASK
        )
    ec2.add_response("create_tags", {}, {"Resources": ["snap-1"], "Tags": ANY})
    s3.add_response("delete_objects", {}, {**OURS, "Delete": {"Objects": [{"Key": OBJECT["Key"]}], "Quiet": True}})
    ec2.add_response(
        "describe_snapshots",
        {"Snapshots": [{"SnapshotId": "snap-1", "State": "completed"}]},
        {"SnapshotIds": ["snap-1"]},
    )


def test_all_of_the_way(stubs: dict[str, Stubber], image: Path, go: Any, tmp_path: Path) -> None:
    looked(stubs["ec2"])
    bucket_is_there(stubs["s3"])
    stubs["s3"].add_response("create_multipart_upload", {"UploadId": "upload"}, OBJECT)
    put_all(stubs["s3"], image)
    finished(stubs["s3"], image)
    imported(stubs["ec2"], stubs["s3"])
    made, notes = go()
    assert made["snapshot_id"] == "snap-1"
    assert (made["method"], made["full"]) == ("import", "the EBS direct API is denied")
    assert (made["blocks_total"], made["blocks_sent"], made["blocks_kept"]) == (2, 80, 0)
    assert notes[-1] == (
        "the snapshot: access denied to StartSnapshot: so the whole image is sent to S3 and imported from there, which "
        "takes longer. the credentials need the right to ebs:StartSnapshot, to have only changed blocks sent."
    )
    assert unfinished(tmp_path / "state/snapshots") == ()


def put_all(s3: Stubber, image: Path, numbers: tuple[int, ...] = (1, 2, 3)) -> None:
    """Parts go out at once, so their answers are of one mind: the stage sends one at a time here."""
    for number in numbers:
        data = parts_of(image)[number - 1]
        s3.add_response("upload_part", {"ETag": f'"{md5(data)}"'}, {**UPLOAD, "PartNumber": number, "Body": ANY})


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.stages.snapshot.imported._WORKERS", 1)


def begun(tmp_path: Path, image: Path, *, task: str = "") -> None:
    """What a killed process left."""
    from builder.stages.snapshot.journal import Begun

    digest = hashlib.sha256((image / "blocks").read_bytes()).hexdigest()
    with journal(tmp_path / "state/snapshots", KEY) as diary:
        diary.begin(Begun(key=KEY, region="local", account=ACCOUNT, endpoint="local", blocks=digest))
        diary.uploading(BUCKET, str(OBJECT["Key"]), "upload")
        if task:
            diary.importing(task)


def test_parts_that_arrived_are_not_sent_again(stubs: dict[str, Stubber], image: Path, go: Any, tmp_path: Path) -> None:
    begun(tmp_path, image)
    first = parts_of(image)[0]
    there = [
        {"PartNumber": 1, "Size": PART, "ETag": f'"{md5(first)}"'},
        {"PartNumber": 2, "Size": PART, "ETag": '"damaged"'},
    ]
    stubs["ec2"].add_response("describe_snapshots", {"Snapshots": []}, ANY_FILTER)
    bucket_is_there(stubs["s3"])
    stubs["s3"].add_response("list_parts", {"Parts": there}, UPLOAD)
    put_all(stubs["s3"], image, (2, 3))
    finished(stubs["s3"], image)
    imported(stubs["ec2"], stubs["s3"])
    made, _ = go()
    assert (made["blocks_sent"], made["blocks_kept"]) == (48, 32)


def test_an_object_that_is_whole_already(stubs: dict[str, Stubber], image: Path, go: Any, tmp_path: Path) -> None:
    begun(tmp_path, image)
    stubs["ec2"].add_response("describe_snapshots", {"Snapshots": []}, ANY_FILTER)
    bucket_is_there(stubs["s3"])
    stubs["s3"].add_client_error("list_parts", "NoSuchUpload", expected_params=UPLOAD)
    stubs["s3"].add_response("head_object", {"ContentLength": SIZE}, {**OBJECT, "ChecksumMode": "ENABLED"})
    imported(stubs["ec2"], stubs["s3"])
    made, _ = go()
    assert (made["blocks_sent"], made["blocks_kept"]) == (0, 80)


def test_an_import_that_was_begun_is_waited_for(
    stubs: dict[str, Stubber], image: Path, go: Any, tmp_path: Path
) -> None:
    begun(tmp_path, image, task="import-snap-1")
    stubs["ec2"].add_response("describe_snapshots", {"Snapshots": []}, ANY_FILTER)
    imported(stubs["ec2"], stubs["s3"], begin=False)
    assert go()[0]["snapshot_id"] == "snap-1"


def test_an_import_that_fails(stubs: dict[str, Stubber], image: Path, go: Any, tmp_path: Path) -> None:
    begun(tmp_path, image, task="import-snap-1")
    stubs["ec2"].add_response("describe_snapshots", {"Snapshots": []}, ANY_FILTER)
    detail = {"Status": "deleted", "StatusMessage": "ClientError: Disk validation failed"}
    stubs["ec2"].add_response(
        "describe_import_snapshot_tasks", {"ImportSnapshotTasks": [{"SnapshotTaskDetail": detail}]}, TASK
    )
    stubs["s3"].add_response("delete_objects", {}, {**OURS, "Delete": ANY})
    with pytest.raises(RegionError, match="import-snap-1 failed: ClientError: Disk validation failed"):
        go()
    assert unfinished(tmp_path / "state/snapshots") == ()


def test_without_the_service_role(stubs: dict[str, Stubber], image: Path, go: Any) -> None:
    looked(stubs["ec2"])
    bucket_is_there(stubs["s3"])
    stubs["s3"].add_response("create_multipart_upload", {"UploadId": "upload"}, OBJECT)
    put_all(stubs["s3"], image)
    finished(stubs["s3"], image)
    message = "The service role vmimport provided does not exist or does not have sufficient permissions"
    stubs["ec2"].add_client_error("import_snapshot", "InvalidParameter", message)
    with pytest.raises(RegionError) as caught:
        go()
    assert caught.value.detail == message
    assert caught.value.hint.startswith("make the service role vmimport")


def test_parts_of_the_largest_volumes() -> None:
    assert (part_size(SIZE), part_size(16 << 40)) == (16 << 20, 1678 << 20)
