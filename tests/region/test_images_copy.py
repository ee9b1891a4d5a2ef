"""images copy: several regions at once, failures, stalls, throttling, and a copier that was killed."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from builder.images.copies import Copier, Standing
from builder.images.copying import Outcome
from builder.stages.publish.spec import Destination
from tests.support.faults import faults
from tests.support.published import Place, a_place

TWO = (Destination(region="local-2"), Destination(region="local-3"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(tmp_path_factory.mktemp("images-copy")) as made:
        yield made


def course(region: str, **members: Any) -> dict[str, Any]:
    return {"fault": "course", "operation": "CopyImage", "region": region, **members}


def told(outcomes: tuple[Outcome, ...]) -> list[tuple[str, str, bool]]:
    return [(each.region, each.how, bool(each.image_id)) for each in outcomes]


def test_copies_are_the_same_image_with_tags_on_both(place: Place) -> None:
    source = place.register()
    outcomes = Copier(reach=place.reach).copy(source, (Destination(region="local"), *TWO))
    assert told(outcomes) == [("local", "source", True), ("local-2", "copied", True), ("local-3", "copied", True)]
    for region in ("local-2", "local-3"):
        (copied,) = place.copies(source, region)
        tags = {each["Key"]: each["Value"] for each in copied["Tags"]}
        assert tags == {**source.tags, "ami-factory:source": f"local/{source.id}"}
        (held,) = place.client("ec2", region).describe_snapshots(
            SnapshotIds=[copied["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]]
        )["Snapshots"]
        assert {each["Key"]: each["Value"] for each in held["Tags"]} == tags
        assert (copied["Name"], copied["Description"]) == (source.name, "a web server")


def test_what_is_there_is_found_and_a_gone_one_is_made_again(place: Place) -> None:
    source = place.register()
    first = Copier(reach=place.reach).copy(source, TWO)
    again = Copier(reach=place.reach).copy(source, TWO)
    assert told(again) == [("local-2", "found", True), ("local-3", "found", True)]
    assert [each.image_id for each in again] == [each.image_id for each in first]


def test_encrypted_with_a_key_of_its_region(place: Place) -> None:
    key = "arn:aws:kms:local-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    source = place.register()
    keyed = (Destination(region="local-2", kms_key=key), Destination(region="local-3", kms_key="default"))
    Copier(reach=place.reach).copy(source, keyed)
    found = {}
    for region in ("local-2", "local-3"):
        snapshot = place.copies(source, region)[0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        (held,) = place.client("ec2", region).describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
        found[region] = (held["Encrypted"], held["KmsKeyId"] == key)
    assert found == {"local-2": (True, True), "local-3": (True, False)}


def test_a_wait_tells_state_and_percent(place: Place) -> None:
    source, heard = place.register(), list[Standing]()
    with faults(place.endpoint, course("local-2", seconds=1.5)):
        Copier(reach=place.reach, heard=heard.append).copy(source, TWO[:1])
    pending = [each.percent for each in heard if each.state == "pending"]
    assert pending == sorted(pending)
    assert 0 < pending[-1] < 100
    assert [each.state for each in heard[-3:]] == ["available"] * 3


def test_a_copy_that_fails_is_removed_and_made_once_more(place: Place) -> None:
    source = place.register()
    with faults(place.endpoint, course("local-2", outcome="error", at=0, message="Disk", times=1)):
        outcomes = Copier(reach=place.reach).copy(source, TWO[:1])
    assert told(outcomes) == [("local-2", "copied", True)]
    assert [each["State"] for each in place.copies(source, "local-2")] == ["available"]


def test_one_that_fails_twice_is_told_and_the_next_run_makes_it(place: Place) -> None:
    source = place.register()
    with faults(place.endpoint, course("local-2", outcome="error", at=0, message="Disk is bad")):
        outcomes = Copier(reach=place.reach).copy(source, TWO)
    assert told(outcomes) == [("local-2", "failed", False), ("local-3", "copied", True)]
    assert "Disk is bad" in outcomes[0].reason
    assert told(Copier(reach=place.reach).copy(source, TWO)) == [
        ("local-2", "copied", True),
        ("local-3", "found", True),
    ]
    assert [each["State"] for each in place.copies(source, "local-2")] == ["available"]


def test_a_stalled_one_times_out_and_holds_nobody_up(place: Place) -> None:
    source = place.register()
    ticks = iter(range(0, 10_000_000, 50))
    with faults(place.endpoint, course("local-2", outcome="stalled", at=40)):
        copier = Copier(reach=place.reach, minutes=30, clock=lambda: float(next(ticks)), sleep=lambda _: None)
        outcomes = copier.copy(source, TWO)
    assert [(each.region, each.how) for each in outcomes] == [("local-2", "timeout"), ("local-3", "copied")]
    assert "is pending at 40%" in outcomes[0].reason
    (stalled,) = place.copies(source, "local-2")
    assert stalled["State"] == "pending"


def test_throttled_and_refused_for_the_quota(place: Place) -> None:
    source = place.register()
    rules = (
        {"fault": "throttle", "service": "ec2", "share": 0.3},
        {"fault": "error", "operation": "CopyImage", "code": "ResourceLimitExceeded", "times": 2},
    )
    heard = list[Standing]()
    with faults(place.endpoint, *rules):
        outcomes = Copier(reach=place.reach, heard=heard.append).copy(source, TWO[:1])
    assert told(outcomes) == [("local-2", "copied", True)]
    assert "queued" in {each.state for each in heard}


def test_killed_and_run_again(place: Place) -> None:
    """SIGKILL while both are on their way: the next run waits for these very copies."""
    source = place.register()
    words = ("images", "copy", source.id, "--to", "local-2", "--to", "local-3")
    with faults(place.endpoint, course("local-*", seconds=4.0)):
        process = place.start(*words)
        end = time.monotonic() + 60
        while not all(place.copies(source, region) for region in ("local-2", "local-3")):
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        begun = {region: place.copies(source, region)[0]["ImageId"] for region in ("local-2", "local-3")}
        document = place.document(*words)
    (copies,) = document["copies"]
    assert {each["region"]: each["image_id"] for each in copies["results"]} == {"local": source.id, **begun}
    assert [len(place.copies(source, region)) for region in ("local-2", "local-3")] == [1, 1]


def test_the_verb_tells_required_from_best_effort(place: Place) -> None:
    source = place.register()
    with faults(place.endpoint, {"fault": "deny", "operation": "CopyImage", "region": "local-3"}):
        done = place.run("images", "copy", source.id, "--to", "local-2", "--best-effort", "local-3")
        assert done.returncode == 0, done.stderr
        (copied,) = place.copies(source, "local-2")
        assert done.stdout == f"local  {source.id}\nlocal-2  {copied['ImageId']}\n"
        assert "access denied to CopyImage" in done.stderr
        assert place.run("images", "copy", source.id, "--to", "local-3").returncode == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(
            ["ami-0123456789abcdef0", "--to", "local-2"], "there is no AMI ami-0123456789abcdef0", id="no-ami"
        ),
        pytest.param(["ami-nonsense", "--to", "local-2"], "is no id of an AMI", id="no-id"),
        pytest.param(["AMI", "--to", "lokal-2"], 'is not a region; did you mean "local', id="no-region"),
        pytest.param(["AMI"], "no region to copy it to", id="nowhere"),
        pytest.param(["AMI", "--to", "local-2", "--kms-key", "local-3=default"], "no copy goes there", id="no-copy"),
        pytest.param(
            ["AMI", "--to", "local-2", "--kms-key", "local-2=arn:aws:kms:local-3:123456789012:key/1"],
            "a key in its own region",
            id="another-regions-key",
        ),
    ],
)
def test_what_is_wrong_is_said(place: Place, words: list[str], says: str) -> None:
    if "AMI" in words:
        words = [place.register().id if each == "AMI" else each for each in words]
    done = place.run("images", "copy", *words)
    assert done.returncode in (2, 4)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_listed_everywhere(place: Place) -> None:
    source = place.register(tags={"ami-factory:recipe": "web 1"})
    (outcome,) = Copier(reach=place.reach).copy(source, TWO[:1])
    listed = place.document("images", "list")
    mine = [each for each in listed["images"] if source.id in (each["image_id"], each["source"].partition("/")[2])]
    assert [(each["region"], each["image_id"], each["recipe"]) for each in mine] == [
        ("local", source.id, "web 1"),
        ("local-2", outcome.image_id, "web 1"),
    ]
    assert listed["unreachable"] == []
