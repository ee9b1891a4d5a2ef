"""Looks at what is there: the store by stat, the region by one question for all of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.plan.decide import Observed
from builder.plan.step import Plan
from builder.stages.contract import Surroundings
from builder.store.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region that can be asked. Clients are made when the first question comes: that costs a third of a second."""

    name: str
    surroundings: Surroundings

    def registered(self, keys: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        """Results of the register steps whose AMIs the region has, by key: one call."""
        from builder.cloud.ec2 import images_by_key
        from builder.cloud.session import client

        found = images_by_key(client("ec2", self.surroundings, self.name), keys)
        return {
            key: {"image_id": image.id, "name": image.name, "location": image.location, "found": True}
            for key, image in found.items()
        }

    def snapshots(self, keys: tuple[str, ...]) -> dict[str, frozenset[str]]:
        """Ids of the completed snapshots that the steps of these keys made: one call for up to 200 keys."""
        from builder.cloud.session import client
        from builder.cloud.snapshots import snapshots_by_key

        found = snapshots_by_key(client("ec2", self.surroundings, self.name), keys)
        return {
            key: frozenset(each.id for each in several if each.state == "completed") for key, several in found.items()
        }

    def uploaded(self, result: Mapping[str, Any]) -> bool:
        """Whether the bundle of an upload's receipt is still in S3, every part of it."""
        from builder.cloud.s3 import holds_all
        from builder.cloud.session import client

        return holds_all(
            client("s3", self.surroundings, self.name),
            result["bucket"],
            f"{result['prefix']}/",
            result["manifest"],
            result["sent"] + result["kept"],
        )


def observe(plan: Plan, store: LocalStore, *, region: Region | None = None) -> Observed:
    """What of a plan is there. `region` is asked once; None means offline."""
    stored = frozenset(each.key for each in plan.steps if store.has(each.key))
    if region is None:
        return Observed(stored=stored, asked=False)
    remote: dict[str, Mapping[str, Any]] = {}
    registered = [each for each in plan.steps if each.stage == "register"]
    if registered:
        remote.update(region.registered(tuple(each.key for each in registered)))
    for each in registered:
        for _, source in each.inputs:
            if each.key in remote:
                # What was registered was uploaded; EC2 keeps reading it from there.
                remote.setdefault(source, {"of": each.key})
    receipts = {
        key: store.get(key).record for each in registered for _, key in each.inputs if key in stored - set(remote)
    }
    asked = tuple(key for key, record in receipts.items() if record.stage == "snapshot")
    snapshots = region.snapshots(asked) if asked else {}
    for key, record in receipts.items():
        if record.stage == "snapshot":
            there = record.result["snapshot_id"] in snapshots.get(key, ())
        else:
            there = region.uploaded(record.result)
        if there:
            remote[key] = record.result
    return Observed(stored=stored, remote=remote)
