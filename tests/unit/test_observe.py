"""What is there: one question for all AMIs of a plan, and uploads looked for only where an AMI is missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.observe import observe
from builder.plan.decide import Observed
from builder.plan.step import Chain, Step, merge, step
from builder.stages.register.spec import RegisterSpec
from builder.stages.snapshot.spec import SnapshotSpec
from builder.store.contract import Record
from builder.store.local import LocalStore
from tests.support.plans import PICKED, planned, prepared
from tests.support.snapshot_stage import SPEC

PLAN = planned(prepared("quickstart"), PICKED["quickstart"][0])
UPLOADS = [each for each in PLAN.steps if each.stage == "upload"]
REGISTERS = [each for each in PLAN.steps if each.stage == "register"]


class Region:
    """A region that has some AMIs and some bundles, and counts what it is asked."""

    def __init__(self, images: Mapping[str, Mapping[str, Any]], manifests: set[str]) -> None:
        self.images = images
        self.manifests = manifests
        self.asked: list[object] = []

    def registered(self, keys: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        self.asked.append(keys)
        return {key: self.images[key] for key in keys if key in self.images}

    def uploaded(self, result: Mapping[str, Any]) -> bool:
        self.asked.append(result["manifest"])
        return result["manifest"] in self.manifests


def keep(store: LocalStore, step: Step, **result: Any) -> None:
    store.prepare()
    with store.workspace(step.key) as room:
        record = Record(
            key=step.key,
            stage=step.stage,
            version=step.version,
            spec=dict(step.spec),
            inputs=dict(step.inputs),
            result=result,
            created=0,
            milliseconds=0,
        )
        store.put(record, room.output)


def test_an_empty_store_and_an_empty_region(tmp_path: Path) -> None:
    region = Region({}, set())
    assert observe(PLAN, LocalStore(tmp_path), region=region) == Observed()  # type: ignore[arg-type]
    assert region.asked == [tuple(each.key for each in REGISTERS)]


def test_offline_receipts_are_taken_at_their_word(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    keep(store, REGISTERS[0], image_id="ami-1")
    found = observe(PLAN, store)
    assert found == Observed(stored=frozenset({REGISTERS[0].key}), asked=False)
    assert found.present(REGISTERS[0])


def test_an_ami_stands_for_its_bundle(tmp_path: Path) -> None:
    image = {"image_id": "ami-1"}
    region = Region({REGISTERS[1].key: image}, set())
    found = observe(PLAN, LocalStore(tmp_path), region=region)  # type: ignore[arg-type]
    assert found.remote == {REGISTERS[1].key: image, UPLOADS[1].key: {"of": REGISTERS[1].key}}
    assert len(region.asked) == 1


def test_a_receipt_alone_is_not_believed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    receipts = [{"bucket": "b", "manifest": f"{number}.manifest.xml"} for number in range(3)]
    for each, receipt in zip(UPLOADS, receipts, strict=True):
        keep(store, each, **receipt)
    keep(store, REGISTERS[0], image_id="ami-1")
    region = Region({}, {"2.manifest.xml"})
    found = observe(PLAN, store, region=region)  # type: ignore[arg-type]
    assert found.remote == {UPLOADS[2].key: receipts[2]}
    assert not found.present(REGISTERS[0])
    assert region.asked[1:] == ["0.manifest.xml", "1.manifest.xml", "2.manifest.xml"]


SNAPSHOT = step("snapshot", SnapshotSpec(**SPEC))
OF_EBS = merge(
    [
        Chain(
            variant=PLAN.variants[0],
            steps=(SNAPSHOT, step("register", RegisterSpec(**REGISTERS[0].spec), inputs=(("snapshot", SNAPSHOT),))),
        )
    ]
)


class RegionOfSnapshots(Region):
    def __init__(
        self, ids: Mapping[str, frozenset[str]], images: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__(images or {}, set())
        self.ids = ids

    def snapshots(self, keys: tuple[str, ...]) -> dict[str, frozenset[str]]:
        self.asked.append(keys)
        return {key: self.ids[key] for key in keys if key in self.ids}


@pytest.mark.parametrize(
    ("stored", "ids", "there"),
    [
        pytest.param("snap-1", {"snap-1"}, True, id="there"),
        pytest.param("snap-1", set(), False, id="gone"),
        pytest.param("snap-1", {"snap-2"}, False, id="another-of-its-key"),
        pytest.param("", {"snap-1"}, False, id="not-in-this-store"),
    ],
)
def test_snapshots_are_asked_for_where_an_ami_is_missing(
    stored: str, ids: set[str], there: bool, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    result = {"snapshot_id": stored, "volume_size": 8}
    if stored:
        keep(store, SNAPSHOT, **result)
    region = RegionOfSnapshots({SNAPSHOT.key: frozenset(ids)} if ids else {})
    found = observe(OF_EBS, store, region=region)  # type: ignore[arg-type]
    assert found.remote == ({SNAPSHOT.key: result} if there else {})
    assert region.asked[1:] == ([(SNAPSHOT.key,)] if stored else [])


def test_what_an_ami_was_made_of_is_not_asked_for(tmp_path: Path) -> None:
    key = OF_EBS.steps[1].key
    region = RegionOfSnapshots({}, {key: {"image_id": "ami-1"}})
    found = observe(OF_EBS, LocalStore(tmp_path), region=region)  # type: ignore[arg-type]
    assert found.remote == {key: {"image_id": "ami-1"}, SNAPSHOT.key: {"of": key}}
    assert region.asked == [(key,)]
