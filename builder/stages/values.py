"""Values that several stages' specs and the lock are made of."""

from dataclasses import dataclass

UNPINNED = (
    "packages by the image's own {manager}: the lock pins their versions, not their bytes; these are of the "
    "repositories that the image is set up for, checked with the keys in it"
)
"""What is said of every GuestPackage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePackage:
    """One .deb file of the host's own archive, pinned."""

    name: str
    version: str
    architecture: str
    """Debian's word: amd64, i386 or all."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One RPM, pinned by what signing it does not change (rpm 4.18: header and payload digests)."""

    name: str
    epoch: int
    version: str
    release: str
    architecture: str
    """RPM's word: x86_64, i686 or noarch."""
    repository: str
    header_sha256: str
    payload_sha256: str
    size: int
    build_time: int
    """Seconds since 1970, from the header; the newest of a lock is the build's source epoch."""

    @property
    def nevra(self) -> str:
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}.{self.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPackage:
    """A package that an image's own manager installs, pinned by its version; its archive may be without it one day."""

    name: str
    version: str
    """As dpkg or rpm (EVR) writes it."""
    architecture: str
    """Their word: amd64, all, x86_64, noarch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A package that an image had when it came."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDeb:
    """One .deb file that is installed as it is, pinned."""

    name: str
    version: str
    """With its epoch and revision, as dpkg writes it."""
    architecture: str
    """Debian's word: amd64, i386 or all."""
    sha256: str
    size: int
    build_time: int
    """Seconds since 1970, from the archive's own members; the newest of a lock is the build's source epoch."""


Locked = LockedPackage | LockedDeb


@dataclass(frozen=True, slots=True, kw_only=True)
class DebArchive:
    """Suites of an archive of Debian's kind. Either `archive` or `baseurl` says where, unless a mirror is set."""

    id: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    archive: str = ""
    """Label of its Release files: the address is the one that this machine's own apt has it from."""
    baseurl: str = ""
    keyring: str = ""
    """A file of /usr/share/keyrings, without its suffix: whose signatures count."""
    keys: tuple[str, ...] = ()
    """As in PackageSource, instead of `keyring`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """A dnf repository. Either `input` names the step that made it, or one of the addresses is set."""

    id: str
    input: str = ""
    baseurl: str = ""
    metalink: str = ""
    mirrorlist: str = ""
    gpgcheck: bool = True
    repo_gpgcheck: bool = False
    keys: tuple[str, ...] = ()
    """SHA-256 of each key file, found through `surroundings.sources`; fingerprints are checked on import."""
    fingerprints: tuple[str, ...] = ()
