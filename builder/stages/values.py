"""Values that several stages' specs and the lock are made of."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import RecipeError

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


RPM_DATABASE = "/usr/lib/sysimage/rpm"
"""Where rpm keeps its database since 4.17 as Fedora 36 and everything of its line builds it (Fedora's change
RelocateRPMToUsr); see rpm_database for those before."""


def rpm_database(packages: Iterable["LockedPackage"]) -> str:
    """Where the rpm among these packages looks for its database: one that lay elsewhere would not be seen by the guest.

    rpm 4.16, as RHEL 9 and Amazon Linux 2023 have it, looks in /var/lib/rpm. A tree without rpm has the newer place.
    RecipeError for an rpm before 4.16, the first that can read an SQLite database.
    """
    version = next((each.version for each in packages if each.name == "rpm"), "")
    if version and _numbers(version) < (4, 16):
        raise RecipeError(
            f"this release's own rpm {version} could not read what is installed: before 4.16 rpm keeps its database in "
            "Berkeley DB, which the rpm of this machine does not write any more",
            hint="choose a newer release (docs/support.md names those that can be built)",
        )
    return "/var/lib/rpm" if version and _numbers(version) < (4, 17) else RPM_DATABASE


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:2])


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
