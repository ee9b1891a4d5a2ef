"""Looks at what is there: the store by stat, the region by one question for all of a plan."""

from collections.abc import Mapping
from typing import Any

from builder.plan.decide import Observed
from builder.plan.step import Plan
from builder.store.local import LocalStore


def observe(plan: Plan, store: LocalStore, *, region: Any = None) -> Observed:
    """What of a plan is there. `region` is asked once (builder/cloud/ec2.py: Region); None means offline."""
    stored = frozenset(each.key for each in plan.steps if store.has(each.key))
    if region is None:
        return Observed(stored=stored, asked=False)
    remote: dict[str, Mapping[str, Any]] = {}
    registered = [each for each in plan.steps if each.stage == "register"]
    if registered:
        remote.update(region.registered(tuple(each.key for each in registered)))
    for each in registered:
        for _, upload in each.inputs:
            if each.key in remote:
                # What was registered was uploaded; EC2 keeps reading it from there.
                remote.setdefault(upload, {"of": each.key})
            elif upload in stored and region.uploaded(store.get(upload).record.result):
                remote[upload] = store.get(upload).record.result
    return Observed(stored=stored, remote=remote)
