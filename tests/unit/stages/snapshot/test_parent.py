"""Which snapshot may be the parent, and why another may not."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from builder.cloud.snapshots import ENCRYPTION_TAG, Snapshot
from builder.stages.snapshot.parent import encryption, unfit
from builder.stages.snapshot.spec import SnapshotSpec
from tests.support.snapshot_stage import SPEC

KMS = "arn:aws:kms:us-east-1:123456789012:key/0a1"
PLAIN = SnapshotSpec(**SPEC)
DEFAULT = dataclasses.replace(PLAIN, encrypted=True)
KEYED = dataclasses.replace(PLAIN, encrypted=True, kms_key=KMS)


def found(**changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "id": "snap-1",
        "state": "completed",
        "volume_size": 8,
        "encrypted": False,
        "kms_key": "",
        "started": datetime.now(UTC),
        "tags": {ENCRYPTION_TAG: "none"},
    }
    return Snapshot(**{**values, **changes})


def test_the_encryption_that_is_asked_for() -> None:
    assert [encryption(each) for each in (PLAIN, DEFAULT, KEYED)] == ["none", "default", KMS]


@pytest.mark.parametrize(
    ("spec", "changes", "why"),
    [
        (PLAIN, {}, ""),
        (PLAIN, {"volume_size": 4}, ""),
        (PLAIN, {"volume_size": 9}, "snap-1 has 9 GiB, more than the 8 GiB of this image"),
        # Where the account encrypts by default, what was asked for without is encrypted all the same.
        (PLAIN, {"encrypted": True}, ""),
        (PLAIN, {"tags": {}}, "snap-1 is encrypted otherwise: unknown, not none"),
        (PLAIN, {"archived": True}, "snap-1 is archived"),
        (DEFAULT, {"encrypted": True}, "snap-1 is encrypted otherwise: none, not default"),
        (DEFAULT, {"encrypted": True, "tags": {ENCRYPTION_TAG: "default"}}, ""),
        (DEFAULT, {"tags": {ENCRYPTION_TAG: "default"}}, "snap-1 is not encrypted"),
        (KEYED, {"encrypted": True, "kms_key": KMS, "tags": {ENCRYPTION_TAG: KMS}}, ""),
        (
            KEYED,
            {"encrypted": True, "kms_key": "other", "tags": {ENCRYPTION_TAG: KMS}},
            "snap-1 is encrypted with another key: other",
        ),
    ],
)
def test_who_may_be_a_parent(spec: SnapshotSpec, changes: dict[str, Any], why: str) -> None:
    assert unfit(found(**changes), spec, 8) == why
