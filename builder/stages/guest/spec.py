"""The `guest` stage: packages added to an existing image by its own package manager."""

from dataclasses import dataclass
from typing import ClassVar

from builder.stages.values import GuestPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """Output: `layer.tar`. Inputs: the layers below.

    Versions are pinned and bytes are not: these come from the repositories that the image is set up for, and are
    checked with the keys that are in it.
    """

    VERSION: ClassVar[int] = 1

    manager: str
    """apt, dnf or yum."""
    packages: tuple[GuestPackage, ...]
    source_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestResolveSpec:
    """What `lock` asks: each group is installed on top of the one before, in a throw-away copy.

    Inputs: the layers below. Result: `{"packages": [...], "kernel_packages": [...], "hvm_packages": [...]}`, each a
    list of GuestPackage as plain data: what the group has added, or changed the version of.
    """

    VERSION: ClassVar[int] = 1

    manager: str
    packages: tuple[str, ...]
    kernel_packages: tuple[str, ...]
    hvm_packages: tuple[str, ...]
    source_epoch: int
