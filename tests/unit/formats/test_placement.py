"""Where things go: all that is wanted, nothing twice, and little moves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats.placement import Member, Need, NoRoomError, Run, place, spread

SLOT = 64
NEEDS = [
    Need(name=b"file %04d" % index, units=index * 7 % 23 + (200 if index % 50 == 0 else 0)) for index in range(1500)
]
FREE = [Run(5, 300), Run(320, 60_000)]


def slots(needs: list[Need], free: list[Run] = FREE) -> dict[int, set[tuple[bytes, int, int]]]:
    """What lies in each slot: whose unit where."""
    found: dict[int, set[tuple[bytes, int, int]]] = {}
    for need, runs in zip(needs, place(needs, free, slot=SLOT).runs, strict=True):
        units = [unit for run in runs for unit in range(run.start, run.end)]
        for index, unit in enumerate(units):
            found.setdefault(unit // SLOT, set()).add((need.name, index, unit))
    return found


def changed(before: list[Need], after: list[Need]) -> int:
    old, new = slots(before), slots(after)
    return sum(old.get(slot) != new.get(slot) for slot in old | new)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 200), max_size=60),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 300)), min_size=1, max_size=20),
)
def test_all_that_is_wanted_and_nothing_twice(sizes: list[int], lengths: list[tuple[int, int]]) -> None:
    free, at = [], 0
    for gap, length in lengths:
        at += gap + 1
        free.append(Run(at, length))
        at += length
    needs = [Need(name=b"%d" % index, units=size) for index, size in enumerate(sizes)]
    there = {unit for run in free for unit in range(run.start, run.end)}
    if sum(sizes) > len(there):
        with pytest.raises(NoRoomError):
            place(needs, free, slot=SLOT)
        return
    placed = place(needs, free, slot=SLOT)
    assert [sum(run.length for run in runs) for runs in placed.runs] == sizes
    runs = [*(run for each in placed.runs for run in each), *placed.left]
    units = [unit for run in runs for unit in range(run.start, run.end)]
    assert sorted(units) == sorted(there)


def test_slots_are_nearly_full() -> None:
    units = sum(each.units for each in NEEDS)
    assert len(slots(NEEDS)) * SLOT < units * 1.2


@pytest.mark.parametrize("index", [100, 333, 1498])
def test_who_grows_moves_few_others(index: int) -> None:
    grown = [*NEEDS]
    grown[index] = Need(name=NEEDS[index].name, units=NEEDS[index].units + 1)
    assert 0 < changed(NEEDS, grown) <= len(slots(NEEDS)) // 20


def test_who_is_new_or_gone_moves_few_others() -> None:
    assert 0 < changed(NEEDS, NEEDS[:500] + NEEDS[501:]) <= len(slots(NEEDS)) // 20


def test_more_room_moves_nobody() -> None:
    assert slots(NEEDS) == slots(NEEDS, [*FREE, Run(60_400, 30_000)])


def members(count: int) -> list[Member]:
    return [
        Member(name=b"%d/%d" % (index // 20, index), family=b"%d" % (index // 20), siblings=20)
        for index in range(count)
    ]


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 100))
def test_every_member_has_a_number_of_its_own(count: int, more: int) -> None:
    found = spread(members(count), count + more)
    assert len(set(found)) == count
    assert all(0 <= number < count + more for number in found)


def test_too_few_numbers() -> None:
    with pytest.raises(NoRoomError, match="3 are wanted, and 2 are free"):
        spread(members(3), 2)


def test_a_new_member_moves_few_others() -> None:
    before, after = spread(members(1000), 10_000), spread(members(1001), 10_000)
    assert sum(one != other for one, other in zip(before, after, strict=False)) <= 10


def test_a_family_is_close_together() -> None:
    numbers = sorted(spread(members(1000), 10_000)[:20])
    assert numbers[-1] - numbers[0] < 200
