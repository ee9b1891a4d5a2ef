"""Plain data has one form."""

from dataclasses import dataclass
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.canonical import canonical_json, digest_of, to_plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    names: tuple[str, ...]
    colour: Colour


@dataclass(frozen=True)
class Outer:
    inner: Inner
    size: int | None


def test_values_become_plain_data() -> None:
    value = Outer(inner=Inner(names=("b", "a"), colour=Colour.RED), size=None)
    assert to_plain(value) == {"inner": {"names": ["b", "a"], "colour": "red"}, "size": None}


def test_the_form_is_one_line_of_sorted_ascii() -> None:
    assert canonical_json({"b": [1, "ü"], "a": True}) == b'{"a":true,"b":[1,"\\u00fc"]}'


@pytest.mark.parametrize("value", [1.5, b"bytes", {1, 2}, object()], ids=["float", "bytes", "set", "object"])
def test_what_has_no_one_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is not plain data"):
        canonical_json(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain)
def test_the_digest_does_not_depend_on_the_order_of_keys(value: object) -> None:
    def turned(each: object) -> object:
        if isinstance(each, dict):
            return {key: turned(each[key]) for key in reversed(each)}
        return [turned(one) for one in each] if isinstance(each, list) else each

    assert digest_of(value) == digest_of(turned(value))
