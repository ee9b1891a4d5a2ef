"""How far a guest is in its boot, read from its console. Pure.

A login prompt is not the only sign that it came up, and not a sure one: the getty of a console waits for the console's
device, and on a busy machine systemd gives up waiting for that after 90 s. Everything else is up all the same.
"""

import re

from builder.machine.causes import plain

# What tells that a phase has begun, in the order of a boot.
_SIGNS = {
    "grub": r"PV-GRUB stand-in reads|Welcome to GRUB",
    # SeaBIOS and OVMF say that they hand over to the disk; a console that was turned on later begins with the kernel.
    "loader": r"Booting from Hard Disk|BdsDxe: starting Boot|Welcome to GRUB|Linux version \d",
    "kernel": r"Linux version \d",
    "init": r"systemd\[1\]|Welcome to (?!GRUB)[A-Z]|INIT: version",
    "up": r"(?m)^(?!Last )\S+ login:|Reached target [^\n]*(?:multi-user\.target|Multi-User)",
}
WITHOUT_LOADER = ("kernel", "init", "up")
WITH_LOADER = ("grub", *WITHOUT_LOADER)
WITH_FIRMWARE = ("loader", *WITHOUT_LOADER)
NAMES = {"grub": "its loader", "loader": "its loader", "kernel": "its kernel", "init": "its init", "up": "its login"}


def reached(phase: str, console: str) -> bool:
    """Whether the console shows it."""
    return re.search(_SIGNS[phase], plain(console)) is not None
