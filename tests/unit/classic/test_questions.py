"""Who is asked, and who is not: a terminal made here, with the answer typed beforehand."""

import io
from argparse import Namespace

import pytest

from builder.classic import questions
from builder.errors import RecipeError

KINDS = ("i386", "x86_64")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def options(*, yes: bool = False, batch: bool = False) -> Namespace:
    return Namespace(yes=yes, batch=batch)


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, typed: str) -> Terminal:
    """In the test itself: pytest changes both streams between a test's fixtures and the test."""
    terminal = Terminal(typed)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("sys.stderr", Terminal())
    return terminal


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(RecipeError) as caught:
        questions.agreed("Continue?", options(), otherwise="there is something")
    assert (caught.value.brief, caught.value.hint) == (
        "there is something",
        "say -y to go on without being asked",
    )
    assert questions.chosen("arch", "x86_64", KINDS, options()) == "x86_64"


def test_nobody_is_asked_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch, "y\n")
    with pytest.raises(RecipeError, match="there is something"):
        questions.agreed("Continue?", options(batch=True), otherwise="there is something")
    assert questions.chosen("arch", "x86_64", KINDS, options(batch=True)) == "x86_64"
    assert terminal.tell() == 0


def test_yes_is_the_answer_to_all() -> None:
    questions.agreed("Continue?", options(yes=True), otherwise="")
    questions.agreed("Continue?", options(yes=True, batch=True), otherwise="")


@pytest.mark.parametrize("answer", ["y\n", "Yes\n", " YES \n"])
def test_an_answer_that_agrees(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, answer)
    questions.agreed("Continue?", options(), otherwise="")


@pytest.mark.parametrize("answer", ["n\n", "\n", "yep\n"])
def test_any_other_answer_does_not(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, answer)
    with pytest.raises(RecipeError, match="nothing was done"):
        questions.agreed("Continue?", options(), otherwise="")


def test_the_end_of_the_input_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, "")
    with pytest.raises(RecipeError, match="no answer"):
        questions.agreed("Continue?", options(), otherwise="")


@pytest.mark.parametrize(
    ("typed", "chosen"), [("\n", "x86_64"), ("i386\n", "i386"), ("arm64\ni386\n", "i386")], ids=["none", "one", "two"]
)
def test_a_choice_is_asked_for_until_it_is_one(typed: str, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, typed)
    assert questions.chosen("Please specify a value for arch", "x86_64", KINDS, options()) == chosen
