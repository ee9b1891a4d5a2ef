"""From a plan and what was observed to actions: what to do about each step, and why. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from builder.errors import BuilderError, RecipeError
from builder.plan.changes import changes
from builder.plan.step import Plan, Step
from builder.stages.registry import STAGES


class Do(Enum):
    REUSE = "reuse"
    RUN = "run"
    SKIP = "skip"
    """Not there, and nobody needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    step: Step
    do: Do
    reason: str
    anew: bool = False
    """Run it although its object is in the store, and put the new one in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A step of the last finished build of a variant, to compare with."""

    key: str
    spec: Mapping[str, Any]
    inputs: tuple[tuple[str, str], ...]
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is there: keys in the store, and results of remote steps that the region confirmed."""

    stored: frozenset[str] = frozenset()
    remote: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    asked: bool = True
    """False offline: receipts are then taken at their word."""
    amiss: Mapping[str, str] = field(default_factory=dict)
    """By key: what the region has of a step that is not as it should be."""

    def present(self, step: Step) -> bool:
        return step.key in (self.remote if step.remote and self.asked else self.stored)


def decide(
    plan: Plan,
    observed: Observed,
    history: Mapping[str, Mapping[str, Past]],
    *,
    until: str = "",
    rebuild: str = "",
) -> tuple[Action, ...]:
    """An action for every step, in the plan's order.

    `history` is by variant name and step label. `until` makes the last step of that stage the goal; `rebuild` runs
    that stage and the local ones behind it although they are there.
    """
    goals = (
        [each for each in plan.steps if each.stage == until] if until else [plan.by_key[key] for _, key in plan.goals]
    )
    again = _behind(plan, rebuild) & _needed_by(plan, goals)
    wanted: dict[str, None] = {}
    pending = [*goals, *(plan.by_key[key] for key in again)]
    while pending:
        each = pending.pop()
        if each.key in wanted or (observed.present(each) and each.key not in again):
            continue
        wanted[each.key] = None
        pending += plan.needs(each)
    return tuple(_action(each, plan, observed, history, again, wanted) for each in plan.steps)


def _behind(plan: Plan, stage: str) -> frozenset[str]:
    """Keys of the steps of `stage` and of all local steps made from them."""
    found: set[str] = set()
    for each in plan.steps:
        if not each.remote and (each.stage == stage or any(key in found for _, key in each.inputs)):
            found.add(each.key)
    return frozenset(found)


def _needed_by(plan: Plan, goals: Iterable[Step]) -> frozenset[str]:
    """Keys of the goals and of all that they are made of or wait for."""
    found: set[str] = set()
    pending = list(goals)
    while pending:
        each = pending.pop()
        if each.key not in found:
            found.add(each.key)
            pending += plan.needs(each)
    return frozenset(found)


def _action(
    step: Step,
    plan: Plan,
    observed: Observed,
    history: Mapping[str, Mapping[str, Past]],
    again: frozenset[str],
    wanted: Mapping[str, None],
) -> Action:
    if step.key not in wanted:
        if observed.present(step):
            return Action(step=step, do=Do.REUSE, reason=_where(step, observed))
        return Action(step=step, do=Do.SKIP, reason="not needed")
    if step.key in again:
        return Action(step=step, do=Do.RUN, reason="asked for with --rebuild", anew=True)
    return Action(step=step, do=Do.RUN, reason=observed.amiss.get(step.key) or _reason(step, plan, history))


def _where(step: Step, observed: Observed) -> str:
    result = observed.remote.get(step.key, {})
    if "images" in result:
        return f"all is as it should be in {', '.join(result['images'])}"
    image = result.get("image_id")
    if image:
        return f"the region has {image}"
    return "the region has it" if step.remote and observed.asked else f"stored as {step.key[:12]}"


def _reason(step: Step, plan: Plan, history: Mapping[str, Mapping[str, Past]]) -> str:
    pasts = [history[name][step.label] for name in step.variants if step.label in history.get(name, {})]
    if not pasts:
        return "first build" if not any(name in history for name in step.variants) else "new step"
    past = pasts[0]
    if past.key == step.key:
        return "gone from the region" if step.remote else "gone from the store"
    told = list(changes(past.spec, step.spec))
    if past.version != step.version:
        told.append(f"the stage has changed (version {past.version} to {step.version})")
    if not told:
        told = [f"its input {name} changed" for name in _changed_inputs(past, step)] or ["its inputs changed"]
    return "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")


def _changed_inputs(past: Past, step: Step) -> tuple[str, ...]:
    old = dict(past.inputs)
    changed = tuple(name for name, key in step.inputs if old.get(name) != key)
    return changed[-1:]  # the nearest one: those before it are told at their own steps


def require_cached(actions: tuple[Action, ...], stage: str) -> None:
    """BuilderError when a step of `stage` would run."""
    for each in actions:
        if each.step.stage == stage and each.do is Do.RUN:
            raise BuilderError(
                f"{each.step.label} would run, but --require-cached {stage} was asked", detail=each.reason
            )


def check_stage(name: str, option: str) -> None:
    """RecipeError when there is no such stage."""
    if name and name not in STAGES:
        raise RecipeError(f"{option} {name}: no such stage", hint=f"stages: {', '.join(STAGES)}")
