"""Publishes a registered AMI: asks every region first, and changes what is not as it should be."""

from builder.cloud import amis
from builder.errors import RegionError
from builder.images.copies import Standing
from builder.images.publish import publish
from builder.images.reach import Reach
from builder.stages.contract import Result, StageContext
from builder.stages.publish.spec import PublishSpec


def run(spec: PublishSpec, context: StageContext) -> Result:
    """The AMI everywhere that the spec names. RegionError when a required region does not have it."""
    registered = context.input("register").result
    reach = Reach(context.surroundings, spec.region)
    source = amis.ami(reach.ec2(spec.region), spec.region, registered["image_id"])
    if source is None:
        raise RegionError(f"there is no AMI {registered['image_id']} in {spec.region} any more", hint="run it again")

    def heard(standing: Standing) -> None:
        context.progress(f"copy to {standing.region}: {standing.state}", standing.percent, 100, "percent")

    done = publish(reach, source, spec, heard=heard)
    for region, why in done.missing.items():
        context.note(f"{region} has no copy of {source.id}, and is not required to: {why}")
    return {
        "image_id": source.id,
        "name": source.name,
        "location": source.location,
        "images": done.images,
        "missing": done.missing,
    }
