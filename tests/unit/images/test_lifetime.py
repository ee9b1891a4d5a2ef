"""Dates and protection."""

from datetime import UTC, datetime

import pytest

from builder.catalog.dates import parse_date, parse_days, same_minute
from builder.cloud.amis import Ami
from builder.errors import RecipeError
from builder.images.lifetime import LifeChange, life_change, refuse

NOW = datetime(2026, 11, 28, tzinfo=UTC)
CREATED = "2026-11-01T10:00:00.000Z"


def image(*, public: bool = False, deprecated: str = "", protection: str = "") -> Ami:
    return Ami(
        id="ami-1", name="n", state="available", region="a", created=CREATED, public=public,
        deprecated=deprecated, protection=protection,
    )  # fmt: skip


def test_days_and_dates() -> None:
    assert [parse_days(each) for each in ("30d", "12w", "6m", "1y")] == [30, 84, 180, 365]
    assert parse_date("2027-01-31") == "2027-01-31T00:00:00Z"
    assert parse_date("2027-01-31T18:00:31+01:00") == "2027-01-31T17:01:00Z"
    assert same_minute("2027-01-31T00:00:00Z", "2027-01-31T00:00:00.000Z")
    for wrong in ("", "30", "0d", "-1d", "1.5d", "99999d", "soon"):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_days(wrong)


def test_only_what_is_otherwise_is_changed() -> None:
    so = image(deprecated="2027-01-31T00:00:00.000Z", protection="enabled-without-cooldown")
    assert life_change(so, deprecate="2027-01-31T00:00:00Z", protect="on").empty
    assert life_change(so, deprecate="", protect="") == LifeChange(image_id="ami-1", deprecate="", protect="")
    assert life_change(so, deprecate=None, protect="cooldown") == LifeChange(image_id="ami-1", protect="cooldown")


@pytest.mark.parametrize(
    ("found", "when", "says"),
    [
        pytest.param(image(), "2026-11-27T00:00:00Z", "lies in the past", id="past"),
        pytest.param(image(), "2037-01-01T00:00:00Z", "ten years from now", id="ten-years"),
        pytest.param(image(public=True), "2028-11-02T00:00:00Z", "two years after it was made", id="public"),
    ],
)
def test_what_ec2_refuses(found: Ami, when: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        refuse(found, LifeChange(image_id="ami-1", deprecate=when), NOW)


def test_what_ec2_takes() -> None:
    refuse(image(public=True), LifeChange(image_id="ami-1", deprecate="2028-10-01T00:00:00Z"), NOW)
    refuse(image(), LifeChange(image_id="ami-1", deprecate=""), NOW)
