"""The `verify` stage: a gate that looks into the finished image, read-only, through libguestfs."""

from dataclasses import dataclass
from typing import ClassVar


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
