"""Which parameters are written, and in which order."""

import pytest

from builder.cloud.parameters import Parameter
from builder.errors import BuilderError
from builder.images.copying import Outcome
from builder.images.promotion import plan_promotion, require_all
from builder.stages.publish.spec import Destination

TWO = tuple(Destination(region=name, parameters=("/v1",), latest=("/latest",)) for name in ("a", "b"))


def test_versions_in_all_regions_before_the_latest_in_any() -> None:
    there = {"a": {"/latest": Parameter(value="ami-0", data_type="text"), "/v1": Parameter(value="ami-a")}}
    writes = plan_promotion(TWO, {"a": "ami-a", "b": "ami-b"}, there)
    assert [(each.region, each.name, each.image_id, each.latest) for each in writes] == [
        ("b", "/v1", "ami-b", False),
        ("a", "/latest", "ami-a", True),
        ("b", "/latest", "ami-b", True),
    ]
    assert [each.data_type for each in writes] == ["aws:ec2:image", "text", "aws:ec2:image"]


def test_by_hand_or_back() -> None:
    images = {"a": "ami-a"}
    assert [each.name for each in plan_promotion(TWO, images, {}, latest=False)] == ["/v1"]
    assert [each.name for each in plan_promotion(TWO, images, {}, versioned=False)] == ["/latest"]


def test_required_regions() -> None:
    good = Outcome(region="a", required=True, image_id="ami-a", how="found")
    bad = Outcome(region="b", required=False, how="timeout", reason="at 40%")
    require_all("ami-1", [good, bad])
    with pytest.raises(BuilderError, match="ami-1 is not promoted: c has no copy of it"):
        require_all("ami-1", [good, bad, Outcome(region="c", required=True, how="failed")])
