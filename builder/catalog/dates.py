"""Days as people write them, and the one form that EC2 takes: deprecation dates."""

import re
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(r"([1-9][0-9]{0,3})([dwmy])")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}


def parse_days(text: str) -> int:
    """Days of "30d", "12w", "6m" (of 30 days) or "1y" (of 365). ValueError for anything else, with what to write."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a duration: write a number with d, w, m or y, such as "90d"')
    return int(found[1]) * _DAYS[found[2]]


def parse_date(text: str) -> str:
    """2027-01-01T00:00:00Z of a date, or of a date and a time in UTC. ValueError for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a date: write one such as 2027-01-31, or 2027-01-31T18:00Z') from None
    return stamp(found if found.tzinfo else found.replace(tzinfo=UTC))


def stamp(when: datetime) -> str:
    """As EC2 takes it, rounded to the minute as EC2 does."""
    rounded = (when.astimezone(UTC) + timedelta(seconds=30)).replace(second=0, microsecond=0)
    return rounded.strftime("%Y-%m-%dT%H:%M:%SZ")


def same_minute(one: str, other: str) -> bool:
    """Whether two dates are one: EC2 writes them with milliseconds."""
    if not (one and other):
        return one == other
    return stamp(datetime.fromisoformat(one)) == stamp(datetime.fromisoformat(other))
