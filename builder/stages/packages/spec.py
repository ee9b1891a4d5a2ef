"""The `packages` stage: the base layer, installed with dnf or mmdebstrap exactly as locked."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later
from builder.stages.values import RPM_DATABASE, DebArchive, LockedDeb, LockedPackage, PackageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagesSpec:
    """Output: `layer.tar`. Inputs: the `repository` steps that `repositories` name."""

    VERSION: ClassVar[int] = 1

    architecture: str
    release: str
    repositories: tuple[PackageSource, ...]
    packages: tuple[LockedPackage, ...]
    source_epoch: int
    database: str = later(RPM_DATABASE)
    """Where the tree's own rpm looks for its database."""
    debs: tuple[LockedDeb, ...] = later(())
    """What mmdebstrap and dpkg install; `packages` and `repositories` are empty then."""
    archives: tuple[DebArchive, ...] = later(())
    """Where `debs` are fetched from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveSpec:
    """What `lock` asks of dnf, or of apt where there are `archives`; run like a step, its result is not stored.

    Result: `{"packages": [...], "kernel_packages": [...], "hvm_packages": [...]}`, each a list of LockedPackage (or of
    LockedDeb) as plain data, sorted by name and architecture; `kernel_packages` is what the kernel adds to the closure
    of `packages`, and `hvm_packages` what the boot loader of hvm adds to both. And `metadata`: seconds since 1970, when
    that of each repository with an address was made.
    """

    VERSION: ClassVar[int] = 1

    architecture: str
    release: str
    repositories: tuple[PackageSource, ...]
    packages: tuple[str, ...]
    kernel_packages: tuple[str, ...]
    excludes: tuple[str, ...]
    hvm_packages: tuple[str, ...] = later(())
    archives: tuple[DebArchive, ...] = later(())
