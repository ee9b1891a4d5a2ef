"""What a console tells of a boot."""

import pytest

from builder.region.reach import Look, look

PANIC = "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
EMERGENCY = "[FAILED] Failed to mount /data.\nYou are in emergency mode. After logging in\n"


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        pytest.param("", Look(), id="nothing-yet"),
        pytest.param("Welcome to GRUB!\nPV-GRUB stand-in reads menu.lst\n", Look(), id="on-its-way"),
        pytest.param("\nFedora 8\n\nip-10-1-2-3 login: ", Look(ready=True), id="login"),
        pytest.param("[  OK  ] Reached target Multi-User System.\n", Look(ready=True), id="no-getty"),
        pytest.param("Last login: today\n", Look(), id="another-login"),
        pytest.param(
            PANIC,
            Look(
                broken=True,
                over=True,
                cause="the kernel panicked: VFS: Unable to mount root fs on unknown-block(0,0)",
            ),
            id="panic",
        ),
        pytest.param(
            EMERGENCY,
            Look(
                broken=True,
                cause="the system went into emergency mode: /data of /etc/fstab could not be mounted",
            ),
            id="a-system-that-waits-for-somebody",
        ),
    ],
)
def test_look(console: str, expected: Look) -> None:
    assert look(console) == expected


def test_patience_ends() -> None:
    assert look("Linux version 6.1\n", overdue="too late") == Look(broken=True, cause="too late")
    assert look("\r\nhost login: ", overdue="too late") == Look(ready=True)
