"""Which SSM parameters to write, in which order, and what to put back when it goes wrong. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from builder.cloud.parameters import IMAGE, Parameter
from builder.errors import BuilderError
from builder.images.copying import Outcome
from builder.stages.publish.spec import Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One parameter of one region."""

    region: str
    name: str
    image_id: str
    before: Parameter | None
    """What it says now; None where it is not there."""
    latest: bool = False

    @property
    def data_type(self) -> str:
        """A parameter keeps the one it was made with."""
        return self.before.data_type if self.before else IMAGE


def plan_promotion(
    destinations: Iterable[Destination],
    images: Mapping[str, str],
    there: Mapping[str, Mapping[str, Parameter]],
    *,
    latest: bool = True,
    versioned: bool = True,
) -> tuple[Write, ...]:
    """The parameters that say something else than they should: those of this very AMI first, in all regions, and then
    those that name the latest one. `images` is by region, and so is what is `there`."""
    wanted = [
        Write(region=each.region, name=name, image_id=images[each.region], before=None, latest=newest)
        for newest, on in ((False, versioned), (True, latest))
        for each in destinations
        if on and each.region in images
        for name in (each.latest if newest else each.parameters)
    ]
    found = []
    for each in wanted:
        before = there.get(each.region, {}).get(each.name)
        if before is None or before.value != each.image_id:
            found.append(
                Write(region=each.region, name=each.name, image_id=each.image_id, before=before, latest=each.latest)
            )
    return tuple(found)


def require_all(image: str, outcomes: Iterable[Outcome]) -> None:
    """BuilderError when a required region has no AMI that could be promoted."""
    absent = [each for each in outcomes if each.required and not each.good]
    if absent:
        raise BuilderError(
            f"{image} is not promoted: {', '.join(each.region for each in absent)} "
            f"{'has' if len(absent) == 1 else 'have'} no copy of it",
            detail="\n".join(f"{each.region}: {each.how}: {each.reason}" for each in absent),
            hint="no parameter was changed; copy it first: ami-factory images copy",
        )
