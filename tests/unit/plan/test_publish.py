"""The publish step: there when the recipe has the table, and nothing else moves."""

import json
from typing import Any

import pytest

from builder.errors import RecipeError
from builder.plan.decide import Do, Observed, decide
from builder.plan.step import Plan, Step
from builder.recipe.aws import Publish
from tests.support.plans import US_EAST, planned, prepared

READY = prepared("quickstart")


def plan(**table: Any) -> Plan:
    recipe = READY.loaded.recipe.model_copy(update={"publish": Publish.model_validate_json(json.dumps(table))})
    return planned(READY, recipe=recipe, target=US_EAST)


def published(made: Plan) -> Step:
    return next(each for each in made.steps if each.stage == "publish")


def test_no_key_but_its_own() -> None:
    before, after = planned(READY, target=US_EAST), plan(regions=["eu-west-1"])
    assert {each.key for each in before.steps} == {each.key for each in after.steps if each.stage != "publish"}
    register = next(each for each in after.steps if each.stage == "register")
    step = published(after)
    assert (step.inputs, step.after, step.remote) == ((("register", register.key),), register.after, True)
    assert step.key in dict(after.goals).values()


def test_what_it_says() -> None:
    spec = published(
        plan(
            regions=["eu-west-1"],
            best_effort=["us-west-2"],
            kms_keys={"us-west-2": "default"},
            parameters=["/i/{{ name }}/{{ region }}/{{ instance_type }}"],
            deprecate_after="2w",
            protect="cooldown",
            promote="by-hand",
        )
    ).spec
    name, kind = READY.loaded.recipe.name, READY.loaded.recipe.instance_types[0]
    assert [(each["region"], each["required"], each["kms_key"]) for each in spec["destinations"]] == [
        ("us-east-1", True, ""),
        ("eu-west-1", True, ""),
        ("us-west-2", False, "default"),
    ]
    assert [each["parameters"] for each in spec["destinations"]] == [
        [f"/i/{name}/{region}/{kind}"] for region in ("us-east-1", "eu-west-1", "us-west-2")
    ]
    assert (spec["deprecate_days"], spec["protection"], spec["promote"]) == (14, "cooldown", False)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        pytest.param({"regions": ["eu-west-9"]}, 'is not a region; did you mean "eu-west', id="no-region"),
        pytest.param({"latest": ["images/{{ name }}"]}, "path begins with /", id="no-slash"),
        pytest.param({"latest": ["/aws/{{ name }}"]}, "does not begin with aws or ssm", id="aws"),
        pytest.param({"latest": ["/{{ description }}"]}, "has letters, digits", id="blanks"),
    ],
)
def test_what_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        plan(**table)


def test_two_amis_for_one_parameter() -> None:
    recipe = READY.loaded.recipe.model_copy(
        update={
            "publish": Publish(latest=("/web/latest",)),
            "instance_types": ("m1.small", "m1.large"),
        }
    )
    with pytest.raises(RecipeError, match="two AMIs of this recipe would write the SSM parameter /web/latest"):
        planned(READY, recipe=recipe, target=US_EAST)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        pytest.param({"regions": ["a-1"], "best_effort": ["a-1"]}, "one or the other", id="twice"),
        pytest.param({"kms_keys": {"a-1": "default"}}, "which no copy goes to", id="nowhere"),
        pytest.param(
            {"regions": ["a-1"], "kms_keys": {"a-1": "arn:aws:kms:b-1:123456789012:key/1"}}, "a key of its", id="key"
        ),
        pytest.param(
            {"regions": ["a-1"], "kms_keys": {"a-1": "default"}, "public": True}, "cannot be public", id="public"
        ),
        pytest.param({"deprecate_after": "1d", "deprecate_on": "2027-01-01"}, "not both", id="dates"),
        pytest.param({"deprecate_after": "1 day"}, "is not a duration", id="duration"),
        pytest.param({"accounts": ["1"]}, "should match pattern", id="account"),
    ],
)
def test_tables_that_are_wrong(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Publish.model_validate_json(json.dumps(table))


def test_what_is_amiss_is_the_reason() -> None:
    made = plan(regions=["eu-west-1"])
    step = published(made)
    register = dict(step.inputs)["register"]
    remote = {register: {"image_id": "ami-1"}}
    actions = decide(made, Observed(remote=remote, amiss={step.key: "eu-west-1: image available: missing"}), {})
    found = {each.step.stage: (each.do, each.reason) for each in actions}
    assert found["publish"] == (Do.RUN, "eu-west-1: image available: missing")
    assert found["register"] == (Do.REUSE, "the region has ami-1")
    there = {**remote, step.key: {"image_id": "ami-1", "images": {"us-east-1": "ami-1", "eu-west-1": "ami-2"}}}
    actions = decide(made, Observed(remote=there), {})
    assert {each.do for each in actions} == {Do.REUSE, Do.SKIP}
    assert actions[-1].reason == "all is as it should be in us-east-1, eu-west-1"
