"""Copies of an AMI in other regions: begun, waited for, believed, and found again by the next run."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from builder.cloud import amis
from builder.cloud.amis import Ami
from builder.cloud.ec2 import image_by_name, pauses
from builder.cloud.errors import refused_with
from builder.cloud.places import copies_at_once
from builder.cloud.snapshots import delete_snapshot, snapshot
from builder.errors import RegionError
from builder.images.copying import TRIES, Do, Outcome, Step, copy_request, patience_seconds, plan_copies
from builder.images.reach import Reach, words
from builder.stages.publish.spec import Destination

SIGHTS = 3
"""Looks in a row that must find a copy available before it is believed: EC2's reads lag behind one another."""
UNSEEN = 30.0
"""Seconds after which an AMI that CopyImage answered with and nobody shows is taken for gone."""
_TAKEN = "InvalidAMIName.Duplicate"
_FULL = {"ResourceLimitExceeded", "SnapshotCopyLimitExceeded", "ImageLimitExceeded", "ConcurrentCopyLimitExceeded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a copy stands at one look."""

    region: str
    image_id: str
    state: str
    percent: int = 0
    reason: str = ""


Heard = Callable[[Standing], None]


class _Timeout(RegionError):
    """It goes on, and nobody waits for it any more."""


class _Gone(Exception):
    """CopyImage answered with what was made for this token long ago, and somebody has removed since."""


class _Dead(Exception):
    """The copy went to a state that it does not leave; why."""


@dataclass(slots=True, kw_only=True)
class Copier:
    """Copies AMIs, several regions at a time, and into one region as many at a time as its quota takes."""

    reach: Reach
    heard: Heard = lambda standing: None
    minutes: int = 0
    """How long a copy is waited for; 0: an hour, and a minute for each GiB."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _room: dict[str, threading.Semaphore] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def copy(self, source: Ami, destinations: Sequence[Destination]) -> tuple[Outcome, ...]:
        """An outcome for each destination, in their order; the AMI's own region is one with the AMI itself."""
        others = [each for each in destinations if each.region != source.region]
        outcomes, refusals = self.reach.each(
            (each.region for each in others), lambda region: self._one(source, _of(others, region))
        )
        home = Outcome(region=source.region, required=True, image_id=source.id, how="source")
        found = {source.region: home, **outcomes}
        for region, error in refusals.items():
            required = _of(others, region).required
            found[region] = Outcome(region=region, required=required, how=_how(error), reason=words(error))
        return tuple(found[region] for region in dict.fromkeys(each.region for each in destinations))

    def _one(self, source: Ami, destination: Destination) -> Outcome:
        begun = self.clock()
        end = begun + patience_seconds(source, self.minutes)
        region = destination.region
        there = amis.copies_of(self.reach.ec2(region), region, source.origin)
        (step,) = plan_copies(source, [destination], {region: there})
        image_id = self._made(source, step, end)
        how = "found" if step.do is Do.KEEP else "copied"
        return Outcome(
            region=region,
            required=destination.required,
            image_id=image_id,
            how=how,
            seconds=int(self.clock() - begun),
        )

    def _made(self, source: Ami, step: Step, end: float) -> str:
        """The id of the copy, available. One that fails is removed and made again, once; the second one stays, so that
        it can be looked at, and so that the next run asks for another one."""
        region = step.destination.region
        self._remove(region, step.dead)
        image_id, after, failures = step.image_id, step.dead[-1].id if step.dead else "", 0
        with self._turn(region) if not image_id else nullcontext():
            while True:
                image_id = image_id or self._begin(source, step.destination, after, end)
                try:
                    self._wait(region, image_id, end)
                except _Gone:
                    pass
                except _Dead as dead:
                    failures += 1
                    if failures == TRIES:
                        raise RegionError(
                            f"{region}: the copy of {source.id} failed {TRIES} times",
                            detail=str(dead),
                            hint="run the same command again: what failed is removed, and another copy is made",
                        ) from None
                    self._remove(
                        region, [found] if (found := amis.ami(self.reach.ec2(region), region, image_id)) else []
                    )
                else:
                    return image_id
                after, image_id = image_id, ""

    def _begin(self, source: Ami, destination: Destination, after: str, end: float) -> str:
        """The id of a copy that is on its way now. A region with its hands full is asked again later."""
        region, client = destination.region, self.reach.ec2(destination.region)
        for pause in pauses():
            try:
                return amis.copy_image(client, copy_request(source, destination, after))
            except RegionError as error:
                if refused_with(error) == _TAKEN:
                    return self._taken(source, region, error)
                if refused_with(error) not in _FULL or self.clock() + pause > end:
                    raise
                self.heard(Standing(region=region, image_id="", state="queued", reason=error.detail))
            self.sleep(pause)
        raise AssertionError("pauses() has no end")

    def _taken(self, source: Ami, region: str, error: RegionError) -> str:
        """The AMI that has the name, when it is a copy of the same one: another process was quicker."""
        client = self.reach.ec2(region)
        found = image_by_name(client, source.name)
        other = amis.ami(client, region, found.id) if found else None
        if other is not None and other.source == source.origin:
            return other.id
        raise RegionError(
            f'{region}: the name "{source.name}" is taken'
            + (f" by {other.id}, which is no copy of {source.id}" if other else ""),
            detail=error.detail,
            hint="deregister it there, or build with another register.name",
        ) from error

    def _wait(self, region: str, image_id: str, end: float) -> None:
        """Until it has been seen available several times in a row. _Dead for what will not be, _Timeout at the end."""
        client, sights, begun = self.reach.ec2(region), 0, self.clock()
        last = Standing(region=region, image_id=image_id, state="unknown")
        for pause in pauses():
            found = amis.ami(client, region, image_id)
            if found is None and last.state == "unknown" and self.clock() - begun > UNSEEN:
                raise _Gone
            if found is not None:
                last = self._standing(region, found)
                self.heard(last)
                if found.state not in ("available", "pending"):
                    raise _Dead(f"{image_id} is {found.state}: {last.reason or 'EC2 gives no reason'}")
            sights = sights + 1 if found is not None and found.state == "available" else 0
            if sights == SIGHTS:
                return
            wait = min(pause, 0.2) if sights else pause
            if self.clock() + wait > end:
                break
            self.sleep(wait)
        raise _Timeout(
            f"{image_id} in {region} is {last.state} at {last.percent}% after {_lasted(self.clock() - begun)}",
            detail=last.reason,
            hint="it goes on there: run the same command again to go on waiting",
        )

    def _standing(self, region: str, found: Ami) -> Standing:
        percent, reason = (100, "") if found.state == "available" else (0, found.reason)
        if found.state == "pending" and found.snapshots:
            its = snapshot(self.reach.ec2(region), found.snapshots[0])
            if its is not None:
                digits = its.progress.rstrip("%")
                percent, reason = int(digits) if digits.isdecimal() else 0, reason or its.reason
        return Standing(region=region, image_id=found.id, state=found.state, percent=percent, reason=reason)

    def _remove(self, region: str, dead: Sequence[Ami]) -> None:
        """Failed copies, with their snapshots."""
        client = self.reach.ec2(region)
        for each in dead:
            if each.state != "deregistered":
                amis.deregister(client, each.id)
            for its in each.snapshots:
                delete_snapshot(client, its)

    @contextmanager
    def _turn(self, region: str) -> Iterator[None]:
        """Room for one more copy into the region, by its quota."""
        with self._lock:
            if region not in self._room:
                most = copies_at_once(self.reach.client("service-quotas", region))
                self._room[region] = threading.Semaphore(most)
        with self._room[region]:
            yield


def _how(error: RegionError) -> str:
    """A word for why a region has no copy."""
    if isinstance(error, _Timeout):
        return "timeout"
    return "unreachable" if error.__cause__ is not None and not refused_with(error) else "failed"


def _of(destinations: Sequence[Destination], region: str) -> Destination:
    return next(each for each in destinations if each.region == region)


def _lasted(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def missing(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The required regions that have no copy."""
    return tuple(each for each in outcomes if each.required and not each.good)
