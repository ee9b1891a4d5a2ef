"""What to do about each region's copy of an AMI."""

from builder.cloud.amis import Ami, Volume
from builder.images.copying import Do, Step, copy_request, patience_seconds, plan_copies
from builder.stages.publish.spec import Destination

HOME = Ami(
    id="ami-1",
    name="web",
    state="available",
    region="us-east-1",
    description="d",
    snapshots=("snap-1",),
    volume=Volume(size=8),
    tags={"ami-factory:key": "k", "team": "blue", "aws:owner": "x"},
)
THERE = Destination(region="eu-west-1")


def copy(image_id: str, state: str) -> Ami:
    return Ami(id=image_id, name="web", state=state, region="eu-west-1")


def step(*copies: Ami) -> Step:
    (found,) = plan_copies(HOME, [Destination(region="us-east-1"), THERE, THERE], {"eu-west-1": copies})
    return found


def test_none_is_there() -> None:
    assert step() == Step(destination=THERE, do=Do.COPY)


def test_the_oldest_available_one_counts() -> None:
    dead, pending, one, two = copy("a", "failed"), copy("b", "pending"), copy("c", "available"), copy("d", "available")
    assert step(dead, pending, one, two) == Step(destination=THERE, do=Do.KEEP, image_id="c", dead=(dead,))
    assert step(dead, pending) == Step(destination=THERE, do=Do.WAIT, image_id="b", dead=(dead,))
    assert step(dead) == Step(destination=THERE, do=Do.COPY, dead=(dead,))


def test_a_region_that_was_not_asked_is_not_planned_for() -> None:
    assert plan_copies(HOME, [THERE], {}) == ()


def test_the_request() -> None:
    asked = copy_request(HOME, THERE, "").request()
    tags = [
        {"Key": "ami-factory:key", "Value": "k"},
        {"Key": "ami-factory:source", "Value": "us-east-1/ami-1"},
        {"Key": "team", "Value": "blue"},
    ]
    token = asked.pop("ClientToken")
    assert len(token) == 64
    assert asked == {
        "SourceRegion": "us-east-1",
        "SourceImageId": "ami-1",
        "Name": "web",
        "Description": "d",
        "TagSpecifications": [{"ResourceType": "image", "Tags": tags}, {"ResourceType": "snapshot", "Tags": tags}],
    }


def test_tokens_are_of_what_decides_the_copy() -> None:
    keyed = Destination(region="eu-west-1", kms_key="default")
    tokens = [
        copy_request(HOME, destination, after).token
        for destination, after in ((THERE, ""), (THERE, "ami-9"), (keyed, ""), (Destination(region="eu-west-2"), ""))
    ]
    assert len(set(tokens)) == 4
    assert copy_request(HOME, THERE, "").token == tokens[0]
    default = copy_request(HOME, keyed, "").request()
    assert (default["Encrypted"], "KmsKeyId" in default) == (True, False)


def test_patience() -> None:
    assert (patience_seconds(HOME, 0), patience_seconds(HOME, 5)) == (3600 + 8 * 60, 300)
