"""The `verify` stage: a gate that looks into the finished image, read-only, through libguestfs."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWanted:
    """What must hold of a disk with partitions."""

    boot_mode: str
    """legacy-bios, uefi or uefi-preferred: which firmware has to find a boot loader."""
    root: str
    """UUID of the root file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySpec:
    """Output: `report.json`. Input: `image`. Findings of severity error fail the step, all of them at once.

    Result: `{"findings": [{"id", "severity", "path", "why", "remedy"}], "checks": [ids that were held]}`.
    """

    VERSION: ClassVar[int] = 1

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
