"""The `boot` stage: the image is booted as EC2 would boot it. A gate before register, like verify."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSpec:
    """Output: `proof.json`, `metadata.log` and consoles. Input: `image`."""

    VERSION: ClassVar[int] = 1  # Raise when `run` would let through, or stop, what it did not before.

    level: str
    """direct, login or full: builder/machine/proof.py"""
    architecture: str
    instance_type: str
    loader: str
    """pv-grub-hd0 or pv-grub-hd00; "" of an HVM image"""
    authorized_keys: tuple[str, ...]
    """Of root, in the image."""
    metadata_key: bool
    """Root also gets the key that an instance is launched with."""
    virtualization: str = later("paravirtual")
    """paravirtual or hvm"""
    boot_mode: str = later("")
    """Of an HVM image: legacy-bios, uefi or uefi-preferred; "" as EC2 takes it, for the BIOS."""
    volume_size: int = later(0)
    """GiB of the root volume of an HVM image; 0 for a GiB more than the image has, so that the root has to grow."""
    imds: str = later("")
    """v2.0 where the metadata service answers with a token only."""
