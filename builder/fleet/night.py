"""One build of a fleet: every recipe resolved, their plans as one, and for each recipe how it went.

A recipe that is wrong, that cannot be resolved, that the region would refuse or that fails stops only itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, Exit
from builder.factory import Factory, Selection
from builder.fleet.model import LoadedFleet, Member
from builder.observe import Region
from builder.plan.decide import Action, Do, Observed
from builder.plan.step import Plan, combine
from builder.prepared import Prepared
from builder.store.contract import Object

Refusing = Callable[[Prepared, Plan, Sequence[Action]], None]
"""Raises BuilderError for what would keep a recipe's steps from being done in the region."""


class State(Enum):
    """How a recipe of the fleet fared."""

    BUILT = "built"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A recipe of the fleet with its lock and its plan."""

    number: int
    """Its place in the fleet file, from 0."""
    path: Path
    prepared: Prepared
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A recipe of the fleet, after the build."""

    number: int
    path: Path
    state: State
    plan: Plan | None = None
    actions: tuple[Action, ...] = ()
    error: BuilderError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The fleet as one plan, and the recipes that have no part in it."""

    ready: tuple[Ready, ...]
    failed: tuple[Outcome, ...]
    plan: Plan
    observed: Observed
    actions: tuple[Action, ...]

    def of(self, plan: Plan) -> tuple[Action, ...]:
        """The actions of one recipe's steps."""
        return tuple(each for each in self.actions if each.step.key in plan.by_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """How a build of a fleet went."""

    outcomes: tuple[Outcome, ...]
    """In the fleet file's order."""
    done: Mapping[str, Object]
    """What was run, by key."""
    observed: Mapping[str, Mapping[str, Any]]
    """What the region had before."""

    @property
    def exit(self) -> Exit:
        """DONE: something was built and nothing failed; UNCHANGED, PARTLY; BUILD: all of it failed."""
        states = {each.state for each in self.outcomes}
        if State.FAILED not in states:
            return Exit.DONE if State.BUILT in states else Exit.UNCHANGED
        return Exit.BUILD if states == {State.FAILED} else Exit.PARTLY


def selection(member: Member, boot: str = "") -> Selection:
    """Which variants of its recipe a member stands for. `boot`: another level of the boot proof for all."""
    return Selection(
        architectures=member.architectures,
        instance_types=member.instance_types,
        virtualization=member.virtualization,
        boot=boot or member.boot or "",
    )


def plan_night(
    factory: Factory,
    fleet: LoadedFleet,
    region: Region | None,
    *,
    resolve: bool,
    boot: str = "",
    refusing: Refusing | None = None,
) -> Planned:
    """The plans of all recipes as one. `resolve`: their packages anew; else the locks stand as they are. `boot`: see
    `selection`.

    `refusing` is asked about each recipe's steps; what it refuses is left out, as are recipes that cannot be planned.
    """
    ready, failed = _prepared(factory, fleet, resolve=resolve, boot=boot)
    observed = factory.observe(combine(each.plan for each in ready), region)
    planned = _decided(factory, ready, failed, observed)
    if refusing is None:
        return planned
    refused = [outcome for each in ready if (outcome := _refused(refusing, each, planned))]
    if not refused:
        return planned
    out = {each.number for each in refused}
    return _decided(factory, [each for each in ready if each.number not in out], [*failed, *refused], observed)


def _prepared(factory: Factory, fleet: LoadedFleet, *, resolve: bool, boot: str) -> tuple[list[Ready], list[Outcome]]:
    ready: list[Ready] = []
    failed: list[Outcome] = []
    locked: dict[Path, Prepared] = {}
    taken: dict[str, Path] = {}
    for number, (member, path) in enumerate(zip(fleet.fleet.recipes, fleet.paths, strict=True)):
        try:
            prepared = locked.get(path) or factory.prepare(path, anew=resolve)
            if path not in locked and (resolve or prepared.lock is None):
                prepared = factory.lock(prepared, update=resolve)
            locked[path] = prepared
            plan = factory.plan(prepared, selection(member, boot))
            _refuse_taken(plan, path, taken)
        except BuilderError as error:
            failed.append(Outcome(number=number, path=path, state=State.FAILED, error=error))
        else:
            ready.append(Ready(number=number, path=path, prepared=prepared, plan=plan))
    return ready, failed


def _refuse_taken(plan: Plan, path: Path, taken: dict[str, Path]) -> None:
    """BuilderError for a variant that another recipe, or another entry of the fleet, has: they would be one AMI."""
    for each in plan.variants:
        if each.name in taken:
            raise BuilderError(
                f"{path}: {each.name} is a variant of {taken[each.name]} as well",
                hint="give the recipes names of their own, or the fleet's entries other variants",
            )
    taken |= {each.name: path for each in plan.variants}


def _decided(factory: Factory, ready: Iterable[Ready], failed: Iterable[Outcome], observed: Observed) -> Planned:
    """`observed`: of all recipes' plans, which may be more than are left."""
    ready = tuple(ready)
    plan = combine(each.plan for each in ready)
    return Planned(
        ready=ready, failed=tuple(failed), plan=plan, observed=observed, actions=factory.decide(plan, observed)
    )


def _refused(refusing: Refusing, each: Ready, planned: Planned) -> Outcome | None:
    actions = planned.of(each.plan)
    try:
        refusing(each.prepared, each.plan, actions)
    except BuilderError as error:
        return Outcome(
            number=each.number, path=each.path, state=State.FAILED, plan=each.plan, actions=actions, error=error
        )
    return None


def build_night(factory: Factory, planned: Planned) -> Night:
    """Run what is to be run. Steps that recipes have in common run once; all others side by side."""
    recipes = {variant.name: each.prepared.loaded.recipe for each in planned.ready for variant in each.plan.variants}
    ran = factory.run(planned.plan, planned.actions, recipes)
    broken = ran.failed if ran else {}
    outcomes = [*planned.failed, *(_outcome(each, planned.of(each.plan), broken) for each in planned.ready)]
    return Night(
        outcomes=tuple(sorted(outcomes, key=lambda each: each.number)),
        done=dict(ran.done) if ran else {},
        observed=planned.observed.remote,
    )


def _outcome(each: Ready, actions: tuple[Action, ...], broken: Mapping[str, BuilderError]) -> Outcome:
    error = next((broken[action.step.key] for action in actions if action.step.key in broken), None)
    ran = any(action.do is Do.RUN for action in actions)
    state = State.FAILED if error else State.BUILT if ran else State.UNCHANGED
    return Outcome(number=each.number, path=each.path, state=state, plan=each.plan, actions=actions, error=error)
