"""Deprecation and deregistration protection of images."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from builder.region.ec2.region import Region, StoredImage, find_own_image, timestamp
from builder.region.errors import ServiceError

LONGEST_YEARS = 10
"""Of a deprecation date, from now; two for public images (API reference, EnableImageDeprecation)."""
LONGEST_YEARS_PUBLIC = 2
COOLDOWN = 24 * 3600
"""Seconds, after protection that was to cool down is switched off."""


def is_deprecated(image: StoredImage) -> bool:
    """From the date on, only its owner and who asks for them finds it."""
    told = image.record.get("DeprecationTime")
    return told is not None and datetime.fromisoformat(told) <= datetime.now(UTC)


def enable_image_deprecation(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    when: datetime = wanted["DeprecateAt"]
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    rounded = (when + timedelta(seconds=30)).replace(second=0, microsecond=0)
    with region.state.transaction():
        image = find_own_image(region, str(wanted["ImageId"]))
        years = LONGEST_YEARS_PUBLIC if image.public else LONGEST_YEARS
        now = datetime.now(UTC)
        if when < now:
            raise ServiceError("InvalidParameterValue", "The value for DeprecateAt lies in the past")
        if rounded > now.replace(year=now.year + years):
            raise ServiceError("InvalidParameterValue", f"DeprecateAt is up to {years} years from now")
        _change(region, image, {"DeprecationTime": timestamp(rounded)})
    return {"Return": True}


def disable_image_deprecation(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction():
        _change(region, find_own_image(region, str(wanted["ImageId"])), {"DeprecationTime": None})
    return {"Return": True}


def enable_protection(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    how = "enabled-with-cooldown" if wanted.get("WithCooldown") else "enabled-without-cooldown"
    with region.state.transaction():
        image = find_own_image(region, str(wanted["ImageId"]))
        _change(region, image, {"DeregistrationProtection": how, "Cooldown": None})
    return {"Return": "true"}


def disable_protection(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction():
        image = find_own_image(region, str(wanted["ImageId"]))
        cools = image.record.get("DeregistrationProtection") == "enabled-with-cooldown"
        until = int(time.time()) + COOLDOWN if cools else None
        _change(region, image, {"DeregistrationProtection": "disabled", "Cooldown": until})
    return {"Return": "true"}


def refuse_protected(image: StoredImage) -> None:
    """OperationNotPermitted for an image that must not be deregistered."""
    if str(image.record.get("DeregistrationProtection", "")).startswith("enabled"):
        raise ServiceError(
            "OperationNotPermitted", f"The image {image.id} is protected from deregistration: disable that first"
        )
    if image.record.get("Cooldown", 0) > time.time():
        raise ServiceError(
            "OperationNotPermitted", f"The image {image.id} was protected from deregistration, and is for another day"
        )


def _change(region: Region, image: StoredImage, members: Mapping[str, Any]) -> None:
    """Members of the record; None takes one away."""
    record = {name: value for name, value in {**image.record, **members}.items() if value is not None}
    with region.state.transaction() as database:
        database.execute("UPDATE images SET record = ? WHERE id = ?", (json.dumps(record), image.id))
