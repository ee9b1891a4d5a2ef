"""The `repository` stage: an RPM repository repacked from .deb files of the host's own archive."""

from dataclasses import dataclass
from typing import ClassVar

from builder.stages.values import SourcePackage


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySpec:
    """Output: `repodata/`, `packages/*.rpm`, `signing-key.asc` (public), repomd.xml signed.

    Result: `{"packages": count, "epoch": newest build time, "digests": {...}}`.
    """

    VERSION: ClassVar[int] = 1

    architecture: str
    """x86_64 or i386 (Amazon's word; the RPMs are x86_64 or i686, and noarch)."""
    sources: tuple[SourcePackage, ...]
    signing_key: str
    """Fingerprint of the key that signs repomd.xml; the private half is the secret `signing_key`."""
    definition: str
    """Digest of the stage's own data and code (base package, scriptlets, conversion), see `definition_digest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesSpec:
    """What `lock` asks of the host's archive: the closure of these packages and of the essential ones."""

    VERSION: ClassVar[int] = 1

    architecture: str
    roots: tuple[str, ...]
