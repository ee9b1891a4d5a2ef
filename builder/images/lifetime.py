"""When an AMI is deprecated, and whether it may be deregistered: dates, rules and what to change. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from builder.catalog.dates import same_minute, stamp
from builder.cloud.amis import Ami
from builder.errors import RecipeError
from builder.stages.publish.spec import PublishSpec

RULE = "EC2 API reference, EnableImageDeprecation"
MOST_DAYS = 3650
MOST_DAYS_PUBLIC = 730
"""From now for any AMI, and for a public one from its making."""
_PROTECTION = {"on": "enabled-without-cooldown", "cooldown": "enabled-with-cooldown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeChange:
    """What to change about one AMI; None leaves it."""

    image_id: str
    deprecate: str | None = None
    """2027-01-01T00:00:00Z; "" for never."""
    protect: str | None = None
    """ "on", "cooldown"; "" for no more."""

    @property
    def empty(self) -> bool:
        return self.deprecate is None and self.protect is None


def deprecation_of(spec: PublishSpec, created: str) -> str:
    """When an AMI that was made then is to be deprecated; "" for never."""
    if spec.deprecate_on or not spec.deprecate_days or not created:
        return spec.deprecate_on
    return stamp(datetime.fromisoformat(created) + timedelta(days=spec.deprecate_days))


def life_change(image: Ami, *, deprecate: str | None, protect: str | None) -> LifeChange:
    """What is to be changed of what is asked for: nothing that is so already."""
    dated = None if deprecate is None or same_minute(deprecate, image.deprecated) else deprecate
    kept = None if protect is None or _PROTECTION.get(protect, "") == image.protection else protect
    return LifeChange(image_id=image.id, deprecate=dated, protect=kept)


def refuse(image: Ami, change: LifeChange, now: datetime) -> None:
    """RecipeError for a date that EC2 does not take."""
    if not change.deprecate:
        return
    when = datetime.fromisoformat(change.deprecate)
    if when < now:
        raise RecipeError(f"{image.id}: {change.deprecate} lies in the past ({RULE})", hint="give a day to come")
    made = datetime.fromisoformat(image.created) if image.created else now
    last = made + timedelta(days=MOST_DAYS_PUBLIC) if image.public else now + timedelta(days=MOST_DAYS)
    if when > last:
        whose = "a public AMI is deprecated two years after it was made at the latest"
        raise RecipeError(
            f"{image.id}: {change.deprecate} is too late: " + (whose if image.public else "ten years from now at most"),
            detail=RULE,
            hint=f"give a day up to {last:%Y-%m-%d}",
        )
