"""How far a guest is, from consoles."""

from pathlib import Path

import pytest

from builder.machine import phases

# Of the quickstart's image on a machine with a load of 10: systemd waited 90 s for hvc0, so there is no getty.
NO_GETTY = (Path(__file__).parent / "consoles/no-getty.txt").read_bytes().decode(errors="replace")


def seen(console: str) -> list[str]:
    return [phase for phase in phases.WITH_LOADER if phases.reached(phase, console)]


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("PV-GRUB stand-in reads menu.lst\n", ["grub"], id="loader"),
        pytest.param("[    0.000000] Linux version 2.6.21.7-2.fc8xen\n", ["kernel"], id="kernel"),
        pytest.param("Welcome to \x1b[0;34mFedora\x1b[0m\n", ["init"], id="init"),
        pytest.param("\nip-10-1-2-3 login: ", ["up"], id="prompt"),
        pytest.param("[  OK  ] Reached target \x1b[0;1;39mMulti-User System\x1b[0m.\n", ["up"], id="older-systemd"),
        pytest.param("Last login: today\n", [], id="another-login"),
        pytest.param("[  OK  ] Stopped target multi-user.target - Multi-User System.\n", [], id="shutting-down"),
        pytest.param(NO_GETTY, ["grub", "kernel", "init", "up"], id="multi-user-without-a-prompt"),
    ],
)
def test_reached(console: str, expected: list[str]) -> None:
    assert seen(console) == expected


@pytest.mark.parametrize(
    "console",
    [
        pytest.param("Booting from Hard Disk...\r\n", id="seabios"),
        pytest.param('BdsDxe: starting Boot0001 "UEFI QEMU NVMe Ctrl vol01 1" from PciRoot(0x0)\r\n', id="ovmf"),
        pytest.param("[    0.000000] Linux version 6.1.0\n", id="a-console-that-was-turned-on-later"),
    ],
)
def test_a_firmware_hands_over(console: str) -> None:
    assert phases.reached("loader", console)
    assert phases.WITH_FIRMWARE == ("loader", "kernel", "init", "up")
