"""What to do so that a region has its copy of an AMI. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from builder.canonical import digest_of
from builder.cloud.amis import SOURCE_TAG, Ami, Copy
from builder.stages.publish.spec import Destination

TRIES = 2
"""A copy that fails is removed and made once more."""
_DEAD = {"failed", "error", "invalid", "deregistered"}


class Do(Enum):
    KEEP = "found"
    WAIT = "waiting"
    COPY = "copying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """For one region: which copy to keep or to wait for; none where one is to be made."""

    destination: Destination
    do: Do
    image_id: str = ""
    dead: tuple[Ami, ...] = ()
    """Copies that failed, to be removed first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended in one region."""

    region: str
    required: bool
    image_id: str = ""
    """Empty where there is none that can be used."""
    how: str
    """source, found, copied, failed, timeout, unreachable"""
    reason: str = ""
    seconds: int = 0

    @property
    def good(self) -> bool:
        return self.how in ("source", "found", "copied")


def plan_copies(
    source: Ami, destinations: Iterable[Destination], there: Mapping[str, Sequence[Ami]]
) -> tuple[Step, ...]:
    """A step for each destination but the AMI's own region, which is passed over however often it is named.

    `there` are the copies of `source` that each region has, the oldest first; regions that are not in it are not
    planned for. Where two builders made two copies, the oldest that is available counts, for all builders alike.
    """
    found: dict[str, Step] = {}
    for each in destinations:
        if each.region != source.region and each.region in there:
            found.setdefault(each.region, _step(each, there[each.region]))
    return tuple(found.values())


def _step(destination: Destination, copies: Sequence[Ami]) -> Step:
    dead = tuple(each for each in copies if each.state in _DEAD)
    for do, state in ((Do.KEEP, "available"), (Do.WAIT, "pending")):
        for each in copies:
            if each.state == state:
                return Step(destination=destination, do=do, image_id=each.id, dead=dead)
    return Step(destination=destination, do=Do.COPY, dead=dead)


def copy_request(source: Ami, destination: Destination, after: str) -> Copy:
    """The CopyImage call. Its token is made of what decides the copy: a run that was killed and its next one ask for
    the same AMI, even before the region shows it. `after` is the id of the copy that failed before, so that another
    one is made; "" for the first."""
    tags = {**source.tags, SOURCE_TAG: source.origin}
    given = {name: value for name, value in tags.items() if not name.lower().startswith("aws:")}
    encrypted = bool(destination.kms_key)
    key = "" if destination.kms_key == "default" else destination.kms_key
    return Copy(
        source_region=source.region,
        source=source.id,
        name=source.name,
        description=source.description,
        token=digest_of(["copy", source.origin, source.region, destination.region, destination.kms_key, after]),
        image_tags=given,
        snapshot_tags=given if source.snapshots else {},
        encrypted=encrypted,
        kms_key=key,
    )


def patience_seconds(source: Ami, minutes: int) -> int:
    """How long a copy is waited for: as asked, or an hour and a minute for every GiB of its volume."""
    size = source.volume.size if source.volume else 10
    return minutes * 60 if minutes else 3600 + 60 * size
