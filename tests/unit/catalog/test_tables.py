import math
from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from builder.catalog.tables import Table, faults, frozen, shown, suggestion, text


class Inner(Table):
    size: int = 1


class Outer(Table):
    kind: Literal["tar", "cpio"] = "tar"
    word: Annotated[str, text(r"^[a-z]+$", "a word of lower case letters")] = "x"
    names: tuple[str, ...] = ()
    inner: Inner = Inner()
    more: tuple[Inner, ...] = ()


def found(table: dict[str, object]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(frozen(table))
    return [(fault.key, fault.message) for fault in faults(Outer, caught.value)]


def test_words() -> None:
    assert found({"kind": "tr", "word": "X", "names": [1, "a", None], "inner": [], "more": [{"size": True}]}) == [
        (("kind",), '"tr" is not one of tar, cpio; did you mean "tar"?'),
        (("word",), '"X" is not a word of lower case letters'),
        (("names", 0), "this must be a text in quotes, and 1 is not"),
        (("names", 2), "this must be a text in quotes, and None is not"),
        (("inner",), "this must be a table, and a list is not"),
        (("more", 0, "size"), "this must be a whole number, and true is not"),
    ]


def test_unknown_keys() -> None:
    assert found({"knd": 1}) == [(("knd",), 'unknown key; did you mean "kind"?')]
    assert found({"size": 1}) == [(("size",), "unknown key; known here: kind, word, names, inner, more")]
    assert found({"inner": {"kind": 1}}) == [
        (("inner", "kind"), "unknown key; it belongs at the top, before the first [table]")
    ]
    assert found({"more": [{"sise": 1}]}) == [(("more", 0, "sise"), 'unknown key; did you mean "size"?')]


def test_shown() -> None:
    values = [True, 5, 10**5000, 1.5, math.nan, "a\nb", "x" * 99, [], {}]
    assert [shown(value) for value in values] == [
        "true", "5", "a number", "1.5", "nan", '"a?b"', '"' + "x" * 57 + '..."', "a list", "a table"
    ]  # fmt: skip


def test_suggestion() -> None:
    assert suggestion("nmae", ["name", "kernel"]) == '; did you mean "name"?'
    assert suggestion("zzz", ["name"]) == ""
    assert suggestion("x" * 100_000, ["name"]) == ""
