"""`build --verify-reproducible`: everything up to the image once more, elsewhere, and what differs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from builder.cli import output
from builder.cli.difference import text
from builder.errors import BuilderError
from builder.factory import Factory, Selection
from builder.plan.step import Plan, Step
from builder.prepared import Prepared
from builder.store.local import LocalStore

_LINES = 30
# As unlike as another user's may be; what runs in a step must see none of it.
_OTHER = {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "SOURCE_DATE_EPOCH": "1"}
_UMASK = 0o077


def verify(factory: Factory, prepared: Prepared, selection: Selection, *, quiet: bool) -> None:
    """Build the images of a recipe into a store of their own, which is gone afterwards. BuilderError where one differs.

    The first build is what the factory's store has of them. Only downloads are shared: each is held against the lock.
    """
    plan = factory.plan(prepared, selection)
    with factory.store.workspace("reproduce") as room, _another():
        again = replace(factory, options=replace(factory.options, store=room.scratch / "another place" / "store"))
        actions = again.decide(plan, again.observe(plan, None), until="image")
        again.build(plan, actions, prepared.loaded.recipe)
        for step in (each for each in plan.steps if each.stage == "image"):
            _hold_equal(step, plan, factory.store, again.store, room.scratch)
            if not quiet:
                digest = factory.store.get(step.key).record.result["digests"]["blocks"]
                output.say(f"{step.label:<14} equal   built twice: {digest[:12]}  {', '.join(step.variants)}")


def _hold_equal(step: Step, plan: Plan, store: LocalStore, other: LocalStore, scratch: Path) -> None:
    from builder.cli.diff import differences

    first, second = store.get(step.key), other.get(step.key)
    if first.record.result["digests"] == second.record.result["digests"]:
        return
    place = scratch / f"diff-{step.key[:12]}"
    place.mkdir()
    found, total = differences(first.path / "disk.raw", second.path / "disk.raw", place)
    told = [f"the first step that differs: {each.label} ({each.key[:12]})" for each in _unequal(plan, store, other)]
    raise BuilderError(
        f"{', '.join(step.variants)}: the image was built twice, and differs",
        detail="\n".join([*told[:1], *text(found, total, limit=_LINES)]),
        hint="see docs/reproducible.md for what a package's or a script's files must not hold",
    )


def _unequal(plan: Plan, store: LocalStore, other: LocalStore) -> Iterator[Step]:
    """Steps that both stores have with other bytes, in the order of the plan."""
    for each in plan.steps:
        if store.has(each.key) and other.has(each.key):
            results = [kept.get(each.key).record.result for kept in (store, other)]
            if any(results[0].get(name) != results[1].get(name) for name in ("digest", "digests")):
                yield each


@contextmanager
def _another() -> Iterator[None]:
    """Another locale, time zone and umask for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in _OTHER}
    umask = os.umask(_UMASK)
    os.environ.update(_OTHER)
    try:
        yield
    finally:
        os.umask(umask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
