"""SSM parameters written in order, all of them or none."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from builder.cloud.parameters import Parameter, read_parameters, remove_parameter, write_parameter
from builder.errors import RegionError
from builder.images.promotion import Write
from builder.images.reach import Reach
from builder.stages.publish.spec import Destination

Told = Callable[[Write], None]


def look(reach: Reach, destinations: Iterable[Destination]) -> Mapping[str, Mapping[str, Parameter]]:
    """What the destinations' parameters say now, by region. RegionError for a region that does not answer."""
    named = {each.region: (*each.parameters, *each.latest) for each in destinations}
    regions = [region for region, names in named.items() if names]
    answers, refusals = reach.each(regions, lambda region: read_parameters(reach.ssm(region), named[region]))
    for error in refusals.values():
        raise error
    return answers


def write(reach: Reach, writes: Iterable[Write], told: Told = lambda done: None) -> None:
    """Write them one after another. On any failure what was written is put back as it was, the last one first, and
    RegionError says what could not be."""
    done: list[Write] = []
    try:
        for each in writes:
            done.append(each)
            write_parameter(reach.ssm(each.region), each.name, each.image_id, data_type=each.data_type)
            told(each)
    except RegionError as error:
        _give_back(reach, done, error)
        raise
    except BaseException:
        _give_back(reach, done, None)
        raise


def _give_back(reach: Reach, done: list[Write], error: RegionError | None) -> None:
    left: list[str] = []
    for each in reversed(done):
        try:
            _put_back(reach, each)
        except RegionError as second:
            left.append(f"{each.name} in {each.region} may say {each.image_id}: {second.brief}")
    if error is None:
        return
    said = "every parameter says again what it said before" if not left else "these could not be put back:"
    error.detail = "\n".join(filter(None, (error.detail, said, *left)))


def _put_back(reach: Reach, write: Write) -> None:
    client = reach.ssm(write.region)
    if write.before is None:
        remove_parameter(client, write.name)
        return
    with suppress(RegionError):  # when it cannot even be read, it is written
        now = read_parameters(client, [write.name]).get(write.name)
        if now is not None and now.value == write.before.value:
            return
    write_parameter(client, write.name, write.before.value, data_type=write.before.data_type)
