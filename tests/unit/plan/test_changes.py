"""Reasons are told by the recipe's own names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.plan.changes import changes

CASES = [
    pytest.param({"size": 1024}, {"size": 2048}, ("size: 1024 to 2048",), id="a number"),
    pytest.param({"label": ""}, {"label": "root"}, ('label: "" to root',), id="from nothing"),
    pytest.param({"dhcp": True}, {"dhcp": False}, ("dhcp: true to false",), id="a switch"),
    pytest.param(
        {"ssh": {"authorized_keys": []}},
        {"ssh": {"authorized_keys": ["ssh-ed25519 AAAA me"]}},
        ("ssh.authorized_keys: 1 added",),
        id="a key",
    ),
    pytest.param(
        {"packages": [{"name": "curl", "version": "1"}, {"name": "less", "version": "1"}]},
        {"packages": [{"name": "curl", "version": "2"}, {"name": "vim", "version": "1"}]},
        ("packages: 1 changed (curl), 1 added (vim), 1 removed (less)",),
        id="packages by name",
    ),
    pytest.param({"tags": [["a", "1"]]}, {"tags": [["a", "2"]]}, ("tags: 1 changed (a)",), id="pairs"),
    pytest.param({"fstab": "a\nb\n"}, {"fstab": "a\nc\n"}, ("fstab: text changed",), id="a text"),
    pytest.param({"order": ["a", "b"]}, {"order": ["b", "a"]}, ("order: order changed",), id="order"),
    pytest.param({}, {"new": 1}, ("new: added",), id="a new field"),
    pytest.param({"script": {"text": "x"}}, {"script": None}, ("script: removed",), id="a field gone"),
    pytest.param({"a": 1, "b": [1]}, {"a": 1, "b": [1]}, (), id="equal"),
]


@pytest.mark.parametrize(("old", "new", "told"), CASES)
def test_what_is_told(old: Any, new: Any, told: tuple[str, ...]) -> None:
    assert changes(old, new) == told


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), plain, max_size=4), st.dictionaries(st.text(max_size=3), plain, max_size=4))
def test_a_difference_is_never_passed_over(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert bool(changes(old, new)) == (old != new)
