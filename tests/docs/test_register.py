"""docs/register.md against botocore's model: no field is missing from it, and every test that it names is there."""

import re
from pathlib import Path

from botocore.session import Session

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \|.*\| `(test_\w+)` \|$", re.MULTILINE)
TABLE = dict(ROW.findall((ROOT / "docs/register.md").read_text()))


def test_every_field_of_the_model_is_in_the_table() -> None:
    shape = Session().get_service_model("ec2").operation_model("RegisterImage").input_shape
    assert shape is not None
    assert TABLE.keys() == shape.members.keys()  # type: ignore[attr-defined]


def test_every_field_of_a_mapping_is_told_of() -> None:
    page = (ROOT / "docs/register.md").read_text()
    sent = {"SnapshotId", "VolumeType", "VolumeSize", "Iops", "Throughput", "DeleteOnTermination"}
    shape = Session().get_service_model("ec2").shape_for("EbsBlockDevice")
    left_out = shape.members.keys() - sent  # type: ignore[attr-defined]
    assert sorted(each for each in left_out if f"`{each}`" not in page) == []


def test_every_test_of_the_table_is_there() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert sorted(name for name in set(TABLE.values()) if f"def {name}(" not in tests) == []
