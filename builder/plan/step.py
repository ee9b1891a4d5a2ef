"""Variants, steps and plans: frozen values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from builder.canonical import digest_of, later, to_plain
from builder.stages.contract import Spec
from builder.stages.registry import STAGES

KEY_FORMAT = 1  # Raise to forget every object ever made.


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One AMI that a recipe stands for."""

    recipe: str
    architecture: str
    virtualization: str
    instance_type: str
    kernel: str
    region: str
    account: str

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.architecture}-{self.virtualization}-{self.instance_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage applied to one set of inputs: plain data, so that it can be carried to another machine."""

    stage: str
    label: str
    """The stage's name, or more where a variant has several of it: customise.files, customise.1"""
    version: int
    spec: Mapping[str, Any]
    inputs: tuple[tuple[str, str], ...]
    """(name, key), in order: the order of layers matters."""
    after: tuple[str, ...] = ()
    """Keys of gates: they come first, and are not part of the key."""
    sources: tuple[tuple[str, str], ...] = ()
    """(SHA-256, path) of files that the spec names by digest; where they are is not part of the key."""
    variants: tuple[str, ...] = ()
    key: str = ""
    limits: tuple[tuple[str, int], ...] = later(())
    """What its programs may take of the machine (host/limits.py): not part of the key."""

    @property
    def remote(self) -> bool:
        return STAGES[self.stage].remote


def step(
    stage: str,
    spec: Spec,
    *,
    label: str = "",
    inputs: Iterable[tuple[str, Step]] = (),
    after: Iterable[Step] = (),
    sources: Iterable[tuple[str, str]] = (),
) -> Step:
    """A step with its key: the hash of stage, version, spec and input keys."""
    plain = to_plain(spec)
    named = tuple((name, each.key) for name, each in inputs)
    key = digest_of({"format": KEY_FORMAT, "stage": stage, "version": spec.VERSION, "spec": plain, "inputs": named})
    return Step(
        stage=stage,
        label=label or stage,
        version=spec.VERSION,
        spec=plain,
        inputs=named,
        after=tuple(each.key for each in after),
        sources=tuple(sources),
        key=key,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """All steps of one variant, in order; the last is its goal."""

    variant: Variant
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The merged steps of several variants: equal keys are one step; every step comes after those it needs."""

    variants: tuple[Variant, ...]
    steps: tuple[Step, ...]
    goals: tuple[tuple[str, str], ...]
    """(variant name, key of its last step)"""
    warnings: tuple[str, ...] = ()
    by_key: Mapping[str, Step] = field(default_factory=dict, compare=False)

    def chain(self, variant: str) -> Iterator[Step]:
        return (each for each in self.steps if variant in each.variants)

    def needs(self, step: Step) -> tuple[Step, ...]:
        """What must be finished before it: inputs, then gates."""
        return tuple(self.by_key[key] for key in (*(key for _, key in step.inputs), *step.after))


def merge(chains: Iterable[Chain]) -> Plan:
    """One plan of several chains: equal steps once, with the variants they serve."""
    return combine(_plan(chain) for chain in chains)


def _plan(chain: Chain) -> Plan:
    steps = tuple(replace(each, variants=(chain.variant.name,)) for each in chain.steps)
    goals = ((chain.variant.name, chain.steps[-1].key),)
    return Plan(variants=(chain.variant,), steps=steps, goals=goals, warnings=chain.warnings)


def combine(plans: Iterable[Plan]) -> Plan:
    """One plan of several, of other recipes too: equal steps once, with the variants they serve."""
    merged: dict[str, Step] = {}
    variants: list[Variant] = []
    goals: list[tuple[str, str]] = []
    warnings: dict[str, None] = {}
    for plan in plans:
        variants += plan.variants
        goals += plan.goals
        warnings |= dict.fromkeys(plan.warnings)
        for each in plan.steps:
            merged[each.key] = _shared(merged[each.key], each) if each.key in merged else each
    return Plan(
        variants=tuple(variants),
        steps=tuple(merged.values()),
        goals=tuple(goals),
        warnings=tuple(warnings),
        by_key=merged,
    )


def _shared(known: Step, same: Step) -> Step:
    return replace(
        known,
        after=tuple(dict.fromkeys((*known.after, *same.after))),
        sources=tuple(dict.fromkeys((*known.sources, *same.sources))),
        variants=tuple(dict.fromkeys((*known.variants, *same.variants))),
    )
