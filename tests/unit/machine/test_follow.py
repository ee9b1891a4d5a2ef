"""A guest is watched: what is told, and when it is given up."""

from dataclasses import dataclass

import pytest

from builder.machine import phases
from builder.machine.causes import cause_of
from builder.machine.follow import NotBooted, Patience, follow
from builder.machine.guest import End

QUICK = Patience(silence=0.3, whole=2.0, knock=0.05, look=0.005)
LOADER = "PV-GRUB stand-in reads menu.lst\n"
KERNEL = "Linux version 6.1.0\n"
INIT = "Welcome to Debian!\n"


@dataclass
class Played:
    """A guest whose console is a text that was written before."""

    console: str
    end: End | None = None

    def console_text(self) -> str:
        return self.console

    def wait(self, seconds: float | None = None) -> End | None:
        return self.end


def watched(guest: Played, *, answers: bool = False, skip: int = 0) -> list[str]:
    told: list[str] = []
    follow(
        guest,
        steps=phases.WITH_LOADER,
        reached=told.append,
        knock=lambda: answers,
        explain=cause_of,
        skip=skip,
        patience=QUICK,
    )
    return told


def test_a_prompt() -> None:
    assert watched(Played(f"{LOADER}{KERNEL}{INIT}box login: ")) == ["grub", "kernel", "init", "up"]


@pytest.mark.parametrize("console", [f"{LOADER}box login: ", f"{LOADER}{KERNEL}"])
def test_a_kernel_that_is_told_to_be_quiet(console: str) -> None:
    assert watched(Played(console), answers=True) == ["grub", "kernel", "init", "up"]


def test_a_console_that_says_no_more_and_a_server_that_answers() -> None:
    assert watched(Played(LOADER + KERNEL + INIT), answers=True) == ["grub", "kernel", "init", "up"]


def test_what_an_earlier_boot_said_does_not_count() -> None:
    earlier = f"{LOADER}{KERNEL}{INIT}box login: "
    with pytest.raises(NotBooted, match="never got as far as its kernel"):
        watched(Played(earlier + LOADER), answers=True, skip=len(earlier))


@pytest.mark.parametrize(
    ("guest", "why"),
    [
        pytest.param(Played(LOADER), "the guest never got as far as its kernel", id="loader-hangs"),
        pytest.param(Played(LOADER + KERNEL + INIT), "the guest never got as far as its login", id="nobody-answers"),
        pytest.param(
            Played(LOADER + KERNEL, End(reason="poweroff")), "the guest powered off before its init", id="powered-off"
        ),
        pytest.param(
            Played("", End(reason="failed", detail="xl: no\nnot enough memory")),
            "Xen could not start the guest: not enough memory before its loader",
            id="never-began",
        ),
        pytest.param(
            Played(f"{LOADER}{KERNEL}Kernel panic - not syncing: no root\n"),
            "the kernel panicked: no root",
            id="a-cause",
        ),
    ],
)
def test_one_that_does_not_come_up(guest: Played, why: str) -> None:
    with pytest.raises(NotBooted) as raised:
        watched(guest)
    assert raised.value.brief == why
