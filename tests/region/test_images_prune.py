"""images prune --orphans: what dead builds left is listed, and removed only with --yes."""

from collections.abc import Iterator

import pytest

from builder.images.copies import Copier
from builder.stages.publish.spec import Destination
from builder.stages.snapshot.journal import Begun, journal
from builder.stages.snapshot.run import JOURNALS
from tests.support.faults import faults
from tests.support.published import ACCOUNT, Place, a_place
from tests.support.snapshots import snapshot

BUCKET = f"ami-factory-{ACCOUNT}-local"
OURS = [{"Key": "ami-factory:key", "Value": "a" * 64}]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(tmp_path_factory.mktemp("images-prune")) as made:
        yield made


def test_orphans_are_found_and_nothing_else(place: Place) -> None:
    ec2, ebs, s3 = place.client("ec2"), place.client("ebs"), place.client("s3")
    source = place.register()
    ec2.create_tags(Resources=list(source.snapshots), Tags=OURS)
    lone, theirs = snapshot(ebs, {}, Tags=OURS), snapshot(ebs, {})
    pending = ebs.start_snapshot(VolumeSize=1, Tags=OURS)["SnapshotId"]
    resumed = ebs.start_snapshot(VolumeSize=1, Tags=[{"Key": "ami-factory:key", "Value": "b" * 64}])["SnapshotId"]
    with journal(place.path / "state/ami-factory" / JOURNALS, "b" * 64) as diary:
        diary.begin(Begun(key="b" * 64, region="local", account=ACCOUNT, endpoint="x", blocks="0"))
        diary.started(resumed)
    with faults(place.endpoint, {"fault": "course", "operation": "CopyImage", "outcome": "error", "at": 0}):
        Copier(reach=place.reach).copy(source, (Destination(region="local-2"),))
    (failed,) = place.copies(source, "local-2")
    s3.create_bucket(Bucket=BUCKET)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=f"snapshots/{'c' * 64}.raw")["UploadId"]
    bodies = (
        "web/0123456789ab/web.part.0", "web/0123456789ab/web.part.1",
        "web/ba9876543210/web.part.0", "web/ba9876543210/web.manifest.xml",
        f"snapshots/{'d' * 64}.raw", f"snapshots/{'b' * 64}.raw", "notes/0123456789ab/todo.txt", "web.part.0",
    )  # fmt: skip
    for key in bodies:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")

    assert place.document("images", "prune", "--orphans")["orphans"] == []  # all of it is of today
    listed = place.document("images", "prune", "--orphans", "--older-than", "0")
    expected = {
        ("snapshot", lone),
        ("snapshot", pending),
        ("image", failed["ImageId"]),
        ("upload", f"s3://{BUCKET}/snapshots/{'c' * 64}.raw"),
        ("bundle", f"s3://{BUCKET}/web/0123456789ab/"),
        ("import", f"s3://{BUCKET}/snapshots/{'d' * 64}.raw"),
    }
    assert {(each["kind"], each["id"]) for each in listed["orphans"]} == expected
    assert listed["removed"] is False

    gone = place.document("images", "prune", "--orphans", "--older-than", "0", "--yes")
    assert {each["outcome"] for each in gone["orphans"]} == {"removed"}
    assert place.document("images", "prune", "--orphans", "--older-than", "0")["orphans"] == []
    left = {each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
    assert left == {*source.snapshots, theirs, resumed}
    assert {each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]} == {
        "web/ba9876543210/web.part.0", "web/ba9876543210/web.manifest.xml",
        f"snapshots/{'b' * 64}.raw", "notes/0123456789ab/todo.txt", "web.part.0",
    }  # fmt: skip
    assert (upload, "Uploads" in s3.list_multipart_uploads(Bucket=BUCKET)) == (upload, False)
    assert place.copies(source, "local-2") == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([], "give --orphans", id="nothing"),
        pytest.param(["--orphans", "--older-than", "yesterday"], "is not a duration", id="no-duration"),
    ],
)
def test_what_is_wrong(place: Place, words: list[str], says: str) -> None:
    done = place.run("images", "prune", *words)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
