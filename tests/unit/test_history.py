"""The memory of the last build: it only explains, so nothing in it may stop a build."""

from pathlib import Path

import pytest

from builder.history import History
from builder.plan.decide import Past
from tests.support.plans import PICKED, planned, prepared

PLAN = planned(prepared("quickstart"), PICKED["quickstart"][0])


def past_of(variant: str) -> dict[str, Past]:
    return {
        each.label: Past(key=each.key, spec=each.spec, inputs=each.inputs, version=each.version)
        for each in PLAN.chain(variant)
    }


def test_what_was_finished_is_remembered(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.load(PLAN.variants) == {}
    history.save(PLAN, {each.key for each in PLAN.steps})
    assert history.load(PLAN.variants) == {each.name: past_of(each.name) for each in PLAN.variants}
    assert sorted(each.name for each in (tmp_path / "quickstart").iterdir()) == [
        f"{each.name}-local.json" for each in sorted(PLAN.variants, key=lambda variant: variant.name)
    ]


def test_what_was_not_finished_is_not(tmp_path: Path) -> None:
    History(tmp_path).save(PLAN, {each.key for each in PLAN.steps if each.stage in ("packages", "kernel")})
    loaded = History(tmp_path).load(PLAN.variants)
    assert [set(each) for each in loaded.values()] == [{"packages", "kernel"}] * 3


def test_a_build_of_less_forgets_what_it_did_not_look_at(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.save(PLAN, {each.key for each in PLAN.steps})
    history.save(PLAN, set())
    assert len(history.load(PLAN.variants)["quickstart-x86_64-pv-m1.small"]) == 10


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"packages": 1}', b'{"packages": {"key": "a"}}'])
def test_a_damaged_file_counts_as_none(content: bytes, tmp_path: Path) -> None:
    history = History(tmp_path)
    history.save(PLAN, {each.key for each in PLAN.steps})
    (tmp_path / "quickstart" / "quickstart-x86_64-pv-m1.large-local.json").write_bytes(content)
    assert set(history.load(PLAN.variants)) == {"quickstart-x86_64-pv-m1.small", "quickstart-x86_64-pv-m1.xlarge"}


def test_a_build_that_failed_half_way_forgets_nothing(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.save(PLAN, {each.key for each in PLAN.steps})
    history.save(PLAN, {PLAN.steps[0].key})
    assert history.load(PLAN.variants) == {each.name: past_of(each.name) for each in PLAN.variants}
