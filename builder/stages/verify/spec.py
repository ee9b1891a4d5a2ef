"""The `verify` stage: a gate that looks into the finished image, read-only, through libguestfs."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later

FINDINGS: tuple[str, ...] = (
    "filesystem-type", "filesystem-features", "filesystem-clean", "fstab", "boot-menu", "kernel", "initrd", "init",
    "ssh-enabled", "network-enabled", "launch-key", "key-modes", "host-keys", "identity", "root-password",
    "kernel-config", "private-key", "aws-key", "deleted-secret", "authorized-keys", "password-hash",
    "machine-state", "shell-history", "credentials", "cloud-init", "setuid", "capability", "world-writable",
    "device-node", "unreadable", "partition-table", "boot-loader", "root-uuid", "esp-uuid", "serial-console",
    "grows", "paravirtual", "console", "log", "package-cache", "package-database",
)  # fmt: skip
"""All that a recipe can waive, by the ids of the rules; tests hold that it is all."""
UNUSED = "unused-waiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWanted:
    """What must hold of a disk with partitions."""

    boot_mode: str
    """legacy-bios, uefi or uefi-preferred: which firmware has to find a boot loader."""
    root: str
    """UUID of the root file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKeys:
    """Who may log in as a user of the image."""

    user: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Findings that the recipe accepts."""

    id: str
    path: str
    """As fnmatch has it; * goes across directories."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySpec:
    """Output: `report.json`. Input: `image`. Findings of severity error fail the step, all of them at once.

    Result: `{"findings": [{"id", "severity", "path", "why", "remedy", "waived"}], "checks": [ids that were held]}`.
    """

    VERSION: ClassVar[int] = 2

    architecture: str
    fstab: str
    menu: str
    grub_root: str
    root_device: str
    modules: tuple[str, ...]
    payloads: tuple[str, ...]
    renderer: str
    metadata_key: bool
    filesystem: str
    features: str
    pv_note: str = ""
    """Why this kernel cannot boot paravirtual, when that is known (32-bit, Linux 5.9 or newer): a warning."""
    disk: DiskWanted | None = later(None)
    """None: PV-GRUB boots the image, which is one file system unless `mbr`."""
    mbr: bool = later(False)
    """The image is a disk with an MBR whose only partition is the root."""
    authorized_keys: tuple[AccountKeys, ...] | None = None
    """None: of an image whose recipe is not known, where every key is told, as a warning."""
    waivers: tuple[Waiver, ...] = ()
