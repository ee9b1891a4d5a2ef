"""Keys and plans of the recipes that we ship. A diff here is a rebuild for everybody who has built them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.canonical import to_plain
from builder.factory import Selection
from builder.plan.step import Plan, Step
from builder.prepared import Prepared
from builder.recipe.model import Boot, Recipe
from builder.stages.customise.spec import Script
from tests.support.golden import hold
from tests.support.plans import PICKED, ROOT, US_EAST, keys, planned, prepared

RECIPES = sorted(PICKED)
LOCAL_STAGES = ("packages", "kernel")


def document(plan: Plan, ready: Prepared) -> str:
    """The whole plan, readable in a diff: no step's data twice, no path and no mirror of this machine's."""
    table = {
        "variants": [each.name for each in plan.variants],
        "goals": dict(plan.goals),
        "warnings": list(plan.warnings),
        "steps": [
            {**to_plain(each), "sources": [[digest, path.replace(f"{ROOT}/", "")] for digest, path in each.sources]}
            for each in plan.steps
        ],
    }
    text = json.dumps(table, indent=1) + "\n"
    for each in ready.loaded.recipe.distribution.repositories:
        for kind in ("metalink", "mirrorlist"):
            if address := getattr(each, kind):
                text = text.replace(address, f"<{kind} of {each.id}>")
    return text


@pytest.mark.parametrize("name", RECIPES)
def test_keys(name: str, rewrite_golden: bool) -> None:
    hold(f"{name}.keys.txt", keys(planned(prepared(name), *PICKED[name])), rewrite=rewrite_golden)


@pytest.mark.parametrize("name", RECIPES)
def test_plan(name: str, rewrite_golden: bool) -> None:
    ready = prepared(name)
    hold(f"{name}.plan.json", document(planned(ready, *PICKED[name]), ready), rewrite=rewrite_golden)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"PYTHONHASHSEED": "0"}, id="hash seed 0"),
        pytest.param({"PYTHONHASHSEED": "4711", "LC_ALL": "C", "TZ": "Asia/Tokyo"}, id="hash seed, locale, time zone"),
        pytest.param({"HOME": "/", "USER": "other", "AMI_FACTORY_REGION": "us-east-1"}, id="somebody else"),
    ],
)
def test_keys_do_not_depend_on_where_and_by_whom(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.plans"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "tests/golden/quickstart.keys.txt").read_text()


def test_keys_do_not_depend_on_the_order_of_tables() -> None:
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    tags = {"b": "2", "a": "1", "c": "3"}
    plans = [
        planned(ready, recipe=changed(recipe, register_=recipe.register_.model_copy(update={"tags": each})))
        for each in (tags, dict(reversed(tags.items())))
    ]
    assert keys(plans[0]) == keys(plans[1])


def test_three_instance_types_share_all_but_what_knows_the_disks() -> None:
    plan = planned(prepared("quickstart"), PICKED["quickstart"][0])
    shared = {each.label: len(each.variants) for each in plan.steps if len(each.variants) > 1}
    assert shared == {"repository.quickstart": 3, "packages": 3, "kernel": 3}
    alone = [each.stage for each in plan.steps if len(each.variants) == 1]
    assert alone == ["configure", "image", "verify", "boot", "bundle", "upload", "register"] * 3


def test_customise_is_shared_too() -> None:
    ready = with_scripts(prepared("quickstart"), ("packages", "true"), ("kernel", "false"))
    plan = planned(ready, PICKED["quickstart"][0])
    assert {each.label: len(each.variants) for each in plan.steps if each.stage == "customise"} == {
        "customise.1": 3,
        "customise.2": 3,
    }
    assert [each.label for each in plan.chain(plan.variants[0].name)][:5] == [
        "repository.quickstart",
        "packages",
        "customise.1",
        "kernel",
        "customise.2",
    ]


def test_each_instance_type_gets_its_own_disks(rewrite_golden: bool) -> None:
    plan = planned(prepared("quickstart"), PICKED["quickstart"][0])
    for variant in plan.variants:
        step = one(plan, variant.name, "configure")
        hold(f"fstab/{variant.instance_type}", step.spec["fstab"], rewrite=rewrite_golden)
        assert one(plan, variant.name, "verify").spec["fstab"] == step.spec["fstab"]


def test_a_changed_ssh_key_changes_configure_and_what_is_made_of_it() -> None:
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    ssh = recipe.ssh.model_copy(update={"authorized_keys": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me",)})
    assert moved(planned(ready), planned(ready, recipe=changed(recipe, ssh=ssh))) == [
        "configure",
        "image",
        "verify",
        "boot",
        "bundle",
        "upload",
        "register",
    ]


def test_a_changed_script_leaves_what_came_before_it_alone() -> None:
    ready = prepared("quickstart")
    before = with_scripts(ready, ("packages", "one"), ("packages", "two"))
    after = with_scripts(ready, ("packages", "one"), ("packages", "three"))
    assert moved(planned(before), planned(after)) == [
        "customise.2",
        "kernel",
        "configure",
        "image",
        "verify",
        "boot",
        "bundle",
        "upload",
        "register",
    ]


def test_the_region_and_its_kernel_images_change_what_is_for_that_region_alone() -> None:
    ready = prepared("quickstart")
    # us-east-1 has the AKI that the local region mimics, and the same account here: the bundle is the same.
    assert moved(planned(ready), planned(ready, target=US_EAST)) == ["upload", "register"]


def test_a_changed_name_in_register_changes_register_alone() -> None:
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    register = recipe.register_.model_copy(update={"description": "another"})
    assert moved(planned(ready), planned(ready, recipe=changed(recipe, register_=register))) == ["register"]


def test_a_gate_is_waited_for_and_is_not_in_the_key() -> None:
    """Verifying otherwise, or not at all, renames no AMI: what is published is the same bytes."""
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    plan = planned(ready)
    register = one(plan, plan.variants[0].name, "register")
    gates = tuple(one(plan, plan.variants[0].name, stage).key for stage in ("verify", "boot"))
    assert register.after == gates
    assert not {*gates} & {*dict(register.inputs).values()}
    unproven = changed(recipe, boot=Boot(level="none"))
    assert [each.key for each in planned(ready, recipe=unproven).steps] == [
        each.key for each in plan.steps if each.stage != "boot"
    ]

    stricter = replace(
        ready,
        loaded=replace(
            ready.loaded,
            kernel=ready.loaded.kernel.model_copy(
                update={"pv": ready.loaded.kernel.pv.model_copy(update={"unsupported": {"x86_64": "because"}})}
            ),
        ),
    )
    assert moved(plan, planned(stricter, recipe=recipe)) == ["verify"]


def test_other_sources_make_another_repository_and_all_that_is_made_of_it() -> None:
    ready = prepared("quickstart")
    assert ready.lock is not None
    architecture = ready.lock.architectures["x86_64"]
    fewer = replace(architecture, sources=architecture.sources[1:])
    other = replace(ready, lock=replace(ready.lock, architectures={"x86_64": fewer}))
    assert moved(planned(ready), planned(other))[:2] == ["repository.quickstart", "packages"]


def test_architectures_share_nothing() -> None:
    plan = planned(prepared("quickstart"), *PICKED["quickstart"])
    for each in plan.steps:
        assert len({name.split("-")[1] for name in each.variants}) == 1


def test_what_is_not_booted_is_said() -> None:
    plan = planned(prepared("quickstart"), *PICKED["quickstart"])
    assert [(name, said[:14]) for name, _, said in (each.partition(": ") for each in plan.warnings)] == [
        ("quickstart-i386-pv-m1.small", "the AMI will n"),
    ]


def changed(recipe: Recipe, **fields: Any) -> Recipe:
    return recipe.model_copy(update=fields)


def with_scripts(ready: Prepared, *scripts: tuple[str, str]) -> Prepared:
    made = tuple((when, Script(name="s", text=text, network=False, environment=())) for when, text in scripts)
    return replace(ready, sources=replace(ready.sources, scripts=made))


def one(plan: Plan, variant: str, stage: str) -> Step:
    (found,) = [each for each in plan.chain(variant) if each.stage == stage]
    return found


def moved(before: Plan, after: Plan) -> list[str]:
    """Labels of the steps of `after` that `before` does not have."""
    return [each.label for each in after.steps if each.key not in before.by_key]


def test_selection_of_nothing_is_all_of_the_recipe() -> None:
    ready = prepared("fedora")
    assert keys(planned(ready)) == keys(planned(ready, Selection()))
