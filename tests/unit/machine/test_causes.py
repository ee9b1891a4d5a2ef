"""Why a guest did not come up, from recorded consoles: each of the quickstart's image, with one thing broken."""

from pathlib import Path

import pytest

from builder.machine.causes import cause_of, failed_mount, plain

CONSOLES = Path(__file__).parent / "consoles"
KERNEL = "/boot/vmlinuz-6.1.0-56-cloud-amd64"


def recorded(name: str) -> str:
    return (CONSOLES / f"{name}.txt").read_bytes().decode(errors="replace")


@pytest.mark.parametrize(
    ("name", "expected", "brief", "line"),
    [
        (
            "no-menu",
            "no-menu",
            "the image has no boot menu /boot/grub/menu.lst",
            "error: file `/boot/grub/menu.lst' not found.",
        ),
        (
            "lz4-kernel",
            "kernel-not-loaded",
            f"the loader cannot load the kernel {KERNEL}: it is missing, or no Xen image that it can unpack",
            f"error: couldn't load file {KERNEL}.",
        ),
        (
            "no-initrd",
            "no-initrd",
            "the image has no initrd /boot/initrd.img-6.1.0-56-cloud-amd64, which its boot menu names",
            "error: file `/boot/initrd.img-6.1.0-56-cloud-amd64' not found.",
        ),
        (
            "no-initrd-line",
            "no-root",
            "the kernel finds no root device xvda1",
            '[    2.713158] VFS: Cannot open root device "xvda1" or unknown-block(0,0): error -6',
        ),
        (
            "wrong-root",
            "wrong-root",
            "the kernel was told a root device that is not there: /dev/xvdq1",
            "ALERT!  /dev/xvdq1 does not exist.  Dropping to a shell!",
        ),
        (
            "no-init",
            "no-init",
            "the image has no init that can be started",
            "Target filesystem doesn't have requested /sbin/init.",
        ),
        (
            "fstab",
            "fstab",
            "the system went into emergency mode: /dev/xvdz of /etc/fstab could not be mounted",
            "[   78.117125] systemd[1]: Reached target emergency.target - Emergency Mode.",
        ),
    ],
)
def test_recorded(name: str, expected: str, brief: str, line: str) -> None:
    found = cause_of(recorded(name))
    assert found is not None
    assert (found.id, found.brief, found.lines[-1], found.fatal) == (expected, brief, line, True)
    assert found.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("[    0.0] Linux version 6.1\nDebian GNU/Linux 12 host hvc0\n\nhost login: ", None, id="good"),
        pytest.param("Kernel panic - not syncing: Attempted to kill init!\r\n", "kernel-panic", id="panic"),
        pytest.param("error: something else.\n", "loader", id="loader"),
        pytest.param(
            "error: something else.\nKernel panic - not syncing: x\n", "kernel-panic", id="only what ends a boot counts"
        ),
        pytest.param("PV-GRUB stand-in could not boot\n", "could-not-boot", id="no words"),
        pytest.param("error: no such partition.\nPV-GRUB stand-in could not boot\n", "no-file-system", id="partition"),
    ],
)
def test_texts(text: str, expected: str | None) -> None:
    found = cause_of(text)
    assert (found.id if found else None) == expected


def test_emergency_mode_names_the_line_of_fstab() -> None:
    text = (
        (
            "[[0;1;31m TIME [0m] Timed out waiting for device [0;1;39m/dev/xvdz[0m.\n"
            "[[0;1;33mDEPEND[0m] Dependency failed for [0;1;39m/data[0m.\n"
            'You are in emergency mode. After logging in, type "journalctl -xb" to view\n'
        )
        .replace("[0;", "\x1b[0;")
        .replace("[0m", "\x1b[0m")
    )
    found = cause_of(text)
    assert found is not None
    assert (found.id, found.named) == ("fstab", "/dev/xvdz")
    assert found.brief == "the system went into emergency mode: /dev/xvdz of /etc/fstab could not be mounted"


def test_a_console_for_people() -> None:
    assert plain("\x1b[30m\x1b[47mWelcome\x1b[0m\r\n\rnext\x07\x1b[?25l") == "Welcome\nnext"
    assert failed_mount("nothing failed") == ""


@pytest.mark.parametrize(
    "console",
    [
        pytest.param("Boot failed: not a bootable disk\r\n\r\nNo bootable device.\r\n", id="seabios"),
        pytest.param("BdsDxe: No bootable option or device was found.\r\n", id="ovmf"),
    ],
)
def test_a_firmware_that_finds_nothing(console: str) -> None:
    found = cause_of(console)
    assert found is not None
    assert (found.id, found.fatal) == ("not-bootable", True)
