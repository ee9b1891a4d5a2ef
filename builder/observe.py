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

    def published(self, spec: Mapping[str, Any], image_id: str) -> tuple[Mapping[str, Any] | None, str]:
        """The result of a publish step when all of it is as its spec wants it, in every region; else None, and what is
        not. What publishing again would not mend is for `images validate` to tell."""
        from builder.canonical import from_plain
        from builder.cloud.amis import ami
        from builder.images.compare import difference_words, differences, wanted_as
        from builder.images.reach import Reach
        from builder.images.validate import look
        from builder.stages.publish.spec import PublishSpec

        asked: PublishSpec = from_plain(PublishSpec, dict(spec))
        reach = Reach(self.surroundings, self.name)
        source = ami(reach.ec2(self.name), self.name, image_id)
        if source is None:
            return None, "the AMI is gone"
        seen = look(reach, source, asked)
        amiss = [each for each in differences(wanted_as(source), asked, seen) if each.mended]
        if amiss:
            return None, difference_words(amiss)
        images = {region: each.image.id for region, each in seen.items() if each.image}
        told = {"image_id": source.id, "name": source.name, "location": source.location}
        return {**told, "images": images, "missing": {}}, ""


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
    amiss: dict[str, str] = {}
    for each in plan.steps:
        image = remote.get(dict(each.inputs).get("register", ""), {}).get("image_id")
        if each.stage == "publish" and image:
            found, why = region.published(each.spec, image)
            if found is not None:
                remote[each.key] = found
            else:
                amiss[each.key] = why
    return Observed(stored=stored, remote=remote, amiss=amiss)
