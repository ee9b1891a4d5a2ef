"""All of it, in the one order that leaves nothing half-published: copy, tag, share, date, and only then name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from builder.cloud import amis
from builder.cloud.amis import SOURCE_TAG, Ami
from builder.errors import RegionError
from builder.images import promote, share
from builder.images.copies import Copier, Standing
from builder.images.copying import Outcome
from builder.images.lifetime import deprecation_of, life_change, refuse
from builder.images.promotion import Write, plan_promotion, require_all
from builder.images.reach import Reach, words
from builder.images.sharing import grants_of
from builder.stages.publish.spec import PublishSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of it in each region, and which parameters were written."""

    outcomes: tuple[Outcome, ...]
    written: tuple[Write, ...]

    @property
    def images(self) -> dict[str, str]:
        return {each.region: each.image_id for each in self.outcomes if each.good}

    @property
    def missing(self) -> dict[str, str]:
        return {each.region: f"{each.how}: {each.reason}" for each in self.outcomes if not each.good}


def publish(
    reach: Reach,
    source: Ami,
    spec: PublishSpec,
    *,
    heard: Callable[[Standing], None] = lambda standing: None,
    written: Callable[[Write], None] = lambda done: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Published:
    """Have every destination as the spec wants it; what is so already is left alone.

    Nothing is promoted before every required region is done: RegionError then, and the parameters say what they said.
    """
    share.plan(reach.ec2(source.region), source, grants_of(spec.audience), exact=spec.exact)  # refuses, before copies
    outcomes = Copier(reach=reach, heard=heard).copy(source, spec.destinations)
    good = {each.region: each for each in outcomes if each.good}
    _, refusals = reach.each(good, lambda region: settle(reach, source, spec, good[region].image_id, region, now()))
    outcomes = tuple(
        replace(each, how="failed", reason=words(refusals[each.region])) if each.region in refusals else each
        for each in outcomes
    )
    require_all(source.id, outcomes)
    images = {each.region: each.image_id for each in outcomes if each.good}
    there = promote.look(reach, [each for each in spec.destinations if each.region in images])
    writes = plan_promotion(spec.destinations, images, there, latest=spec.promote)
    promote.write(reach, writes, written)
    return Published(outcomes=outcomes, written=writes)


def settle(reach: Reach, source: Ami, spec: PublishSpec, image_id: str, region: str, now: datetime) -> None:
    """Tags, dates, protection and sharing of the AMI in one region."""
    client = reach.ec2(region)
    image = amis.ami(client, region, image_id)
    if image is None:
        raise RegionError(f"{image_id} in {region} has gone meanwhile", hint="run it again")
    wanted = source.tags if region == source.region else {**source.tags, SOURCE_TAG: source.origin}
    lacking = {key: value for key, value in wanted.items() if image.tags.get(key) != value and key[:4] != "aws:"}
    if lacking:
        amis.tag(client, [image_id, *image.snapshots], lacking)
    when = deprecation_of(spec, source.created)
    change = life_change(image, deprecate=when or None, protect=spec.protection or None)
    refuse(image, change, now)
    apply_life(reach, region, change.image_id, change.deprecate, change.protect)
    share.change(client, share.plan(client, image, grants_of(spec.audience), exact=spec.exact))


def apply_life(reach: Reach, region: str, image_id: str, deprecate: str | None, protect: str | None) -> None:
    client = reach.ec2(region)
    if deprecate is not None:
        amis.deprecate(client, image_id, deprecate)
    if protect is not None:
        amis.protect(client, image_id, protect)
