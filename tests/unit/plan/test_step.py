"""Keys, and the merging of equal steps."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from builder.plan.step import Chain, Variant, merge, step


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    VERSION: ClassVar[int] = 1
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLater:
    VERSION: ClassVar[int] = 2
    what: str


def variant(instance_type: str) -> Variant:
    return Variant(
        recipe="r",
        architecture="x86_64",
        virtualization="pv",
        instance_type=instance_type,
        kernel="k",
        region="local",
        account="123456789012",
    )


def test_a_key_holds_stage_version_spec_and_inputs() -> None:
    base = step("packages", Made(what="a"))
    other = step("packages", Made(what="b"))
    keys = {
        base.key,
        other.key,
        step("packages", MadeLater(what="a")).key,
        step("kernel", Made(what="a")).key,
        step("packages", Made(what="a"), inputs=(("x", base),)).key,
        step("packages", Made(what="a"), inputs=(("y", base),)).key,
        step("packages", Made(what="a"), inputs=(("x", other),)).key,
        step("packages", Made(what="a"), inputs=(("x", base), ("y", other))).key,
        step("packages", Made(what="a"), inputs=(("y", other), ("x", base))).key,
    }
    assert len(keys) == 9


def test_gates_sources_and_labels_are_not_in_the_key() -> None:
    gate = step("verify", Made(what="gate"))
    plain = step("register", Made(what="a"))
    assert step("register", Made(what="a"), after=(gate,)).key == plain.key
    assert step("register", Made(what="a"), sources=(("0" * 64, "/somewhere"),)).key == plain.key
    assert step("register", Made(what="a"), label="register.2").key == plain.key


def test_keys_are_what_they_were() -> None:
    """Golden: a change here forgets every object that anybody ever made."""
    assert step("packages", Made(what="a")).key == "2a4de26f346df8067a89aa6674f02d6f811de0cc6c10d5bdb5ea8d3d8b7ca423"


def test_equal_steps_of_several_variants_are_one() -> None:
    base = step("packages", Made(what="a"))
    small = step("configure", Made(what="small"), inputs=(("packages", base),))
    large = step("configure", Made(what="large"), inputs=(("packages", base),))
    gate = step("verify", Made(what="g"))
    gated = step("register", Made(what="r"), inputs=(("configure", small),), after=(gate,))
    plan = merge(
        (
            Chain(variant=variant("m1.small"), steps=(base, small, gate, gated), warnings=("w",)),
            Chain(variant=variant("m1.large"), steps=(base, large), warnings=("w",)),
        )
    )
    small_name, large_name = "r-x86_64-pv-m1.small", "r-x86_64-pv-m1.large"
    assert plan.steps == (
        dataclasses.replace(base, variants=(small_name, large_name)),
        dataclasses.replace(small, variants=(small_name,)),
        dataclasses.replace(gate, variants=(small_name,)),
        dataclasses.replace(gated, variants=(small_name,)),
        dataclasses.replace(large, variants=(large_name,)),
    )
    assert plan.goals == ((small_name, gated.key), (large_name, large.key))
    assert plan.warnings == ("w",)
    assert [each.label for each in plan.needs(plan.by_key[gated.key])] == ["configure", "verify"]
