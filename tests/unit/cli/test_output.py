"""What people read: columns, sizes, times, and whom a step serves."""

import io
import json
import sys
from collections.abc import Sequence

import pytest

from builder.cli import output
from builder.cli.summary import variant_words
from builder.errors import RecipeError


def test_table() -> None:
    rows = [("a", "long", "last"), ("longer", "b", ""), ("", "", "end")]
    assert output.table(rows, indent="> ") == (
        ">" + " a       long  last\n> longer  b\n>               end"  # no blanks at the end of a line
    )
    assert output.table([]) == ""


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**20, "1.0 MiB"), (3 * 2**40, "3072.0 GiB")],
)
def test_size(count: int, said: str) -> None:
    assert output.size(count) == said


@pytest.mark.parametrize(("milliseconds", "said"), [(0, "0.0 s"), (59_900, "59.9 s"), (61_000, "1 min 01 s")])
def test_seconds(milliseconds: int, said: str) -> None:
    assert output.seconds(milliseconds) == said


def test_counted() -> None:
    assert [output.counted(each, "object") for each in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        pytest.param(["web-x86_64-pv-m1.small", "web-x86_64-pv-m1.large"], "", id="all"),
        pytest.param(["web-x86_64-pv-m1.small"], "[x86_64-pv-m1.small]", id="one"),
        pytest.param(["my-web-x86_64-pv-m1.small"], "[x86_64-pv-m1.small]", id="dashes in the recipe's name"),
    ],
)
def test_variant_words(variants: Sequence[str], said: str) -> None:
    assert variant_words(variants, 2) == said


def test_a_document_is_ascii(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_documents", [])
    output.document("check", good=["größe", "\udcff"], errors=[])
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"format": 1, "kind": "check", "good": ["größe", "\udcff"], "errors": []}


def test_an_error_after_a_document_is_not_a_second_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_documents", [])
    error = RecipeError("brief", detail="detail", hint="hint")
    output.error_document(error)
    output.error_document(error)
    assert json.loads(capsys.readouterr().out) == {
        "format": 1,
        "kind": "error",
        "exit": 2,
        "brief": "brief",
        "detail": "detail",
        "hint": "hint",
    }


def test_an_error_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_error(RecipeError("brief", detail="one\ntwo", hint="hint"))
    assert capsys.readouterr() == ("", "error: brief\n  one\n  two\nhint: hint\n")


def test_a_letter_that_the_locale_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    output.survive_any_encoding()
    output.say("größe")
    assert written.getvalue() == b"gr\\xf6\\xdfe\n"
