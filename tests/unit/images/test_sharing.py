"""Whom an AMI is shared with: what is missing, what is too much, what EC2 refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.images.sharing import Change, Held, Shared, grants_of, of_snapshots, sharing_changes, sharing_faults
from builder.stages.publish.spec import Audience

ONE, TWO = ("account", "111111111111"), ("account", "222222222222")
ORG, ALL = ("organization", "arn:o"), ("all", "")


def shared(
    *grants: tuple[str, str], encrypted: bool = False, default_key: bool = False, blocked: bool = False
) -> Shared:
    held = Held(id="snap-1", encrypted=encrypted, default_key=default_key, grants=of_snapshots(frozenset(grants)))
    return Shared(image_id="ami-1", grants=frozenset(grants), snapshots=(held,), image_blocked=blocked)


def test_snapshots_get_first_and_lose_last() -> None:
    changes = sharing_changes(frozenset({ONE, ORG}), shared(TWO), exact=True)
    assert changes == (
        Change(resource="snap-1", add=frozenset({ONE})),
        Change(resource="ami-1", add=frozenset({ONE, ORG})),
        Change(resource="ami-1", remove=frozenset({TWO})),
        Change(resource="snap-1", remove=frozenset({TWO})),
    )


def test_nothing_is_taken_away_unasked() -> None:
    assert sharing_changes(frozenset({ONE}), shared(ONE, TWO), exact=False) == ()


GRANTS = st.frozensets(st.sampled_from([ONE, TWO, ORG, ALL]))


@given(wanted=GRANTS, now=GRANTS)
def test_done_exactly_it_is_as_wanted(wanted: frozenset[tuple[str, str]], now: frozenset[tuple[str, str]]) -> None:
    has = {"ami-1": now, "snap-1": of_snapshots(now)}
    for each in sharing_changes(wanted, shared(*now), exact=True):
        has[each.resource] = (has[each.resource] | each.add) - each.remove
    assert has == {"ami-1": wanted, "snap-1": of_snapshots(wanted)}


@pytest.mark.parametrize(
    ("wanted", "state", "says"),
    [
        pytest.param({ALL}, shared(encrypted=True), "cannot be public: its snapshot snap-1 is encrypted", id="public"),
        pytest.param({ONE}, shared(encrypted=True, default_key=True), "cannot be shared because", id="default-key"),
        pytest.param({ALL}, shared(blocked=True), "the account blocks public AMIs", id="blocked"),
    ],
)
def test_what_ec2_refuses(wanted: set[tuple[str, str]], state: Shared, says: str) -> None:
    (fault,) = sharing_faults(sharing_changes(frozenset(wanted), state, exact=False), state)
    assert says in fault


def test_what_ec2_takes() -> None:
    state = shared(encrypted=True)
    assert sharing_faults(sharing_changes(frozenset({ONE}), state, exact=False), state) == ()


def test_an_audience() -> None:
    audience = Audience(accounts=("111111111111",), organizations=("arn:o",), public=True)
    assert grants_of(audience) == {ONE, ORG, ALL}
