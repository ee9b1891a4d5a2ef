"""How far a long piece of work is, in a line."""

import io

import pytest

from builder.cli.meter import Meter, told

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (0, 1024 * MIB, 0.0, "bundle    0%  0 B of 1.0 GiB"),
        (430 * MIB, 1024 * MIB, 0.2, "bundle   41%  430.0 MiB of 1.0 GiB"),
        (430 * MIB, 1024 * MIB, 2.0, "bundle   41%  430.0 MiB of 1.0 GiB  215.0 MiB/s  3 s left"),
        (1 * MIB, 1024 * MIB, 1.0, "bundle    0%  1.0 MiB of 1.0 GiB  1.0 MiB/s  17 min left"),
        (1024 * MIB, 1024 * MIB, 2.0, "bundle  100%  1.0 GiB of 1.0 GiB  512.0 MiB/s"),
        (0, 0, 1.0, "bundle        0 B of 0 B"),
    ],
)
def test_told(done: int, total: int, seconds: float, expected: str) -> None:
    assert told("bundle", done, total, seconds) == expected


def test_a_terminal_has_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")  # whatever the terminal of who runs the tests is called
    with Meter("upload") as meter:
        meter(50, 100)
        meter(51, 100)  # too soon to be shown
    assert terminal.getvalue() == "\r\x1b[Kupload   50%  50 B of 100 B\r\x1b[K"


@pytest.mark.parametrize(("wanted", "dumb"), [(False, False), (None, True)], ids=["--no-progress", "dumb"])
def test_a_terminal_can_be_left_alone(wanted: bool | None, dumb: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    with Meter("upload", wanted=wanted) as meter:
        meter(50, 100)
    assert terminal.getvalue() == ""


def test_elsewhere_there_are_lines_if_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted, expected in ((None, []), (True, ["upload   10%", "upload  100%"])):
        pipe = io.StringIO()
        monkeypatch.setattr("sys.stderr", pipe)
        with Meter("upload", wanted=wanted) as meter:
            for done in (1, 10, 11, 100):
                meter(done, 100)
        assert [line[:12] for line in pipe.getvalue().splitlines()] == expected
