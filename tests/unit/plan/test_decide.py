"""What is done about each step, and why: whole values."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from builder.errors import BuilderError, RecipeError
from builder.plan.decide import Action, Do, Observed, Past, check_stage, decide, require_cached
from builder.plan.step import Chain, Plan, Step, Variant, merge, step

VARIANT = Variant(
    recipe="r",
    architecture="x86_64",
    virtualization="pv",
    instance_type="m1.small",
    kernel="k",
    region="local",
    account="123456789012",
)
NAME = VARIANT.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    VERSION: ClassVar[int] = 1
    what: str
    keys: tuple[str, ...] = ()


def chain(what: str = "x", keys: tuple[str, ...] = ()) -> Plan:
    packages = step("packages", Spec(what=what))
    configure = step("configure", Spec(what="c", keys=keys), inputs=(("packages", packages),))
    image = step("image", Spec(what="i"), inputs=(("packages", packages), ("configure", configure)))
    verify = step("verify", Spec(what="v"), inputs=(("image", image),))
    bundle = step("bundle", Spec(what="b"), inputs=(("image", image),))
    upload = step("upload", Spec(what="u"), inputs=(("bundle", bundle),))
    register = step("register", Spec(what="r"), inputs=(("upload", upload),), after=(verify,))
    return merge((Chain(variant=VARIANT, steps=(packages, configure, image, verify, bundle, upload, register)),))


def by_label(plan: Plan) -> dict[str, Step]:
    return {each.label: each for each in plan.steps}


def past(plan: Plan) -> dict[str, dict[str, Past]]:
    return {
        NAME: {
            each.label: Past(key=each.key, spec=each.spec, inputs=each.inputs, version=each.version)
            for each in plan.steps
        }
    }


def told(actions: tuple[Action, ...]) -> dict[str, tuple[str, str]]:
    return {each.step.label: (each.do.value, each.reason) for each in actions}


def all_there(plan: Plan) -> Observed:
    register = by_label(plan)["register"].key
    upload = by_label(plan)["upload"].key
    return Observed(
        stored=frozenset(each.key for each in plan.steps),
        remote={register: {"image_id": "ami-1"}, upload: {"of": register}},
    )


def test_first_build_runs_everything() -> None:
    actions = decide(chain(), Observed(), {})
    assert {do for do, _ in told(actions).values()} == {"run"}
    assert {reason for _, reason in told(actions).values()} == {"first build"}


def test_nothing_to_do() -> None:
    plan = chain()
    key = {label: each.key[:12] for label, each in by_label(plan).items()}
    assert told(decide(plan, all_there(plan), past(plan))) == {
        "packages": ("reuse", f"stored as {key['packages']}"),
        "configure": ("reuse", f"stored as {key['configure']}"),
        "image": ("reuse", f"stored as {key['image']}"),
        "verify": ("reuse", f"stored as {key['verify']}"),
        "bundle": ("reuse", f"stored as {key['bundle']}"),
        "upload": ("reuse", "the region has it"),
        "register": ("reuse", "the region has ami-1"),
    }


def test_a_changed_ssh_key_is_told_by_its_name_and_leaves_packages_alone() -> None:
    old, new = chain(), chain(keys=("ssh-ed25519 AAAA",))
    actions = told(decide(new, Observed(stored=frozenset({by_label(old)["packages"].key})), past(old)))
    assert actions == {
        "packages": ("reuse", f"stored as {by_label(new)['packages'].key[:12]}"),
        "configure": ("run", "keys: 1 added"),
        "image": ("run", "its input configure changed"),
        "verify": ("run", "its input image changed"),
        "bundle": ("run", "its input image changed"),
        "upload": ("run", "its input bundle changed"),
        "register": ("run", "its input upload changed"),
    }


def test_deregistered_by_hand_is_registered_again_and_no_more_than_that() -> None:
    plan = chain()
    labels = by_label(plan)
    observed = Observed(stored=frozenset(each.key for each in plan.steps), remote={labels["upload"].key: {}})
    actions = told(decide(plan, observed, past(plan)))
    assert actions["register"] == ("run", "gone from the region")
    assert {label for label, (do, _) in actions.items() if do == "run"} == {"register"}


def test_an_empty_store_does_nothing_while_the_region_has_the_image() -> None:
    plan = chain()
    labels = by_label(plan)
    observed = Observed(remote={labels["register"].key: {"image_id": "ami-1"}})
    actions = told(decide(plan, observed, past(plan)))
    assert actions.pop("register") == ("reuse", "the region has ami-1")
    assert set(actions.values()) == {("skip", "not needed")}


def test_a_gate_that_was_never_passed_runs_when_what_it_gates_runs() -> None:
    plan = chain()
    labels = by_label(plan)
    stored = frozenset(each.key for each in plan.steps if each.stage not in ("verify", "register"))
    observed = Observed(stored=stored, remote={labels["upload"].key: {}})
    actions = told(decide(plan, observed, past(plan)))
    assert {label for label, (do, _) in actions.items() if do == "run"} == {"verify", "register"}


def test_offline_takes_receipts_at_their_word() -> None:
    plan = chain()
    observed = Observed(stored=frozenset(each.key for each in plan.steps), asked=False)
    actions = told(decide(plan, observed, past(plan)))
    assert {do for do, _ in actions.values()} == {"reuse"}


def test_until_stops_at_the_stage() -> None:
    actions = told(decide(chain(), Observed(), {}, until="image"))
    assert {label for label, (do, _) in actions.items() if do == "run"} == {"packages", "configure", "image"}
    assert actions["bundle"] == ("skip", "not needed")


def test_rebuild_runs_the_stage_and_the_local_ones_behind_it() -> None:
    plan = chain()
    actions = told(decide(plan, all_there(plan), past(plan), rebuild="image"))
    assert {label for label, (do, _) in actions.items() if do == "run"} == {"image", "verify", "bundle"}
    assert actions["image"] == ("run", "asked for with --rebuild")


def test_a_raised_stage_version_is_told() -> None:
    plan = chain()
    history = past(plan)
    old = history[NAME]["image"]
    history[NAME]["image"] = Past(key="0" * 64, spec=old.spec, inputs=old.inputs, version=0)
    actions = told(decide(plan, Observed(), history))
    assert actions["image"] == ("run", "the stage has changed (version 0 to 1)")


def test_require_cached_names_the_step_and_the_reason() -> None:
    actions = decide(chain(), Observed(), {})
    with pytest.raises(BuilderError) as caught:
        require_cached(actions, "packages")
    assert (caught.value.brief, caught.value.detail) == (
        "packages would run, but --require-cached packages was asked",
        "first build",
    )
    require_cached(tuple(Action(step=a.step, do=Do.REUSE, reason="") for a in actions), "packages")


def test_an_unknown_stage_is_refused() -> None:
    check_stage("", "--until")
    with pytest.raises(RecipeError, match="--until imgae: no such stage"):
        check_stage("imgae", "--until")
