"""The `boot` stage: the image is booted as EC2 would boot it. A gate before register, like verify."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSpec:
    """Output: `proof.json`, `metadata.log` and consoles. Input: `image`."""

    VERSION: ClassVar[int] = 1  # Raise when `run` would let through, or stop, what it did not before.

    level: str
    """direct, login or full: builder/machine/proof.py"""
    architecture: str
    instance_type: str
    loader: str
    """pv-grub-hd0 or pv-grub-hd00"""
    authorized_keys: tuple[str, ...]
    """Of root, in the image."""
    metadata_key: bool
    """Root also gets the key that an instance is launched with."""
