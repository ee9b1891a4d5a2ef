"""Wildcards in filter values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.region.ec2.filters import pattern_of


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("a*", "a", True),
        ("a*", "abc", True),
        ("a?", "a", False),
        ("a?", "ab", True),
        ("*b*", "abc", True),
        ("a", "A", False),
        ("a", "ab", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        (r"a\?", "a?", True),
        (r"\\", "\\", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("a*c", "a\nc", True),
        ("", "", True),
        ("*", "", True),
    ],
)
def test_wildcards(pattern: str, value: str, matches: bool) -> None:
    assert bool(pattern_of(pattern).fullmatch(value)) is matches


@given(value=st.text())
def test_what_is_escaped_stands_for_itself(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace("*", r"\*").replace("?", r"\?")
    assert pattern_of(escaped).fullmatch(value)
