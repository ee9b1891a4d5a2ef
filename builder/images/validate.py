"""Looks at an AMI and its copies in every region that should have it."""

from collections.abc import Mapping

from builder.cloud import amis
from builder.cloud.amis import Ami
from builder.cloud.parameters import read_parameters
from builder.cloud.snapshots import snapshot
from builder.images import share
from builder.images.compare import Seen
from builder.images.copying import plan_copies
from builder.images.reach import Reach, words
from builder.stages.publish.spec import Destination, PublishSpec


def look(reach: Reach, source: Ami, spec: PublishSpec) -> Mapping[str, Seen]:
    """What every destination has, by region; one that refuses or does not answer is told as unreachable."""
    destinations = {each.region: each for each in spec.destinations}
    seen, refusals = reach.each(destinations, lambda region: _seen(reach, source, destinations[region]))
    return {**seen, **{region: Seen(unreachable=words(error)) for region, error in refusals.items()}}


def _seen(reach: Reach, source: Ami, destination: Destination) -> Seen:
    client, region = reach.ec2(destination.region), destination.region
    image = amis.ami(client, region, source.id) if region == source.region else _copy(reach, source, destination)
    if image is None:
        return Seen()
    names = (*destination.parameters, *destination.latest)
    found = (snapshot(client, each) for each in image.snapshots)
    available = image.state == "available"
    return Seen(
        image=image,
        snapshots=tuple(each for each in found if each is not None),
        shared=share.look(client, image) if available else None,
        parameters=read_parameters(reach.ssm(region), names) if names else {},
    )


def _copy(reach: Reach, source: Ami, destination: Destination) -> Ami | None:
    """The copy that counts: one that is available, else one on its way, else one that failed."""
    region = destination.region
    copies = amis.copies_of(reach.ec2(region), region, source.origin)
    (step,) = plan_copies(source, [destination], {region: copies})
    chosen = step.image_id or (step.dead[-1].id if step.dead else "")
    return next((each for each in copies if each.id == chosen), None)
