"""The packages that the Xen host is made of, from the host's own archive: chosen by name, fetched, unpacked."""

import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from builder.canonical import digest_of
from builder.errors import BuilderError, HostError
from builder.host import apt, process

ARCHITECTURE = "amd64"
# xen-system-amd64 and linux-image-amd64 are names without a version, for what the release has.
ROOTS = ("xen-system-amd64", "linux-image-amd64", "busybox-static", "grub-xen-bin", "grub-common", "nftables")
# Of all that apt would install for them, what has a part in it: a library more does no harm, one less is named.
_WANTED = re.compile(
    r"linux-image-\d\S*|xen-hypervisor-\d\S*|xen-utils-\d\S*|xenstore-utils|libxen\S+|libyajl\S+|busybox-static"
    r"|grub-xen-bin|grub-common|nftables|libnftables\d|libnftnl\d+|libmnl\d|libxtables\d+|libjansson\d|libgmp\d+"
    r"|libedit\d|libtinfo\d|libbsd\d|libmd\d|libc6|libgcc-s1|libuuid1|zlib1g|liblzma5|libzstd1"
    r"|libdevmapper1\S+|libselinux1|libudev1|libpcre2-8-0"
)


def choose(state: Path, note: apt.Note) -> tuple[apt.Deb, ...]:
    """What the archive has now. `state` is apt's, as for repositories."""
    if platform.machine() != "x86_64":
        raise HostError(f"the Xen host needs an x86-64 machine, and this one is {platform.machine()}")
    found = apt.closure(ARCHITECTURE, ROOTS, state, note)
    return tuple(each for each in found if _WANTED.fullmatch(each.name))


def fetch(debs: Sequence[apt.Deb], *, state: Path, cache: Path, progress: apt.Progress) -> list[Path]:
    """Their files, each with the digest it is pinned to."""
    found = apt.fetch(
        debs, ARCHITECTURE, state=state, cache=cache, progress=progress, remedy="try again: apt's lists were read anew"
    )
    return list(found.values())


def unpack(archives: Sequence[Path], tree: Path) -> None:
    """Their files, in one tree."""
    for archive in archives:
        process.run([process.require("dpkg-deb", "dpkg"), "--extract", archive, tree], capture=True)


def digest(debs: Sequence[apt.Deb]) -> str:
    return digest_of([[each.name, each.version, each.sha256] for each in debs])


def find(tree: Path, pattern: str) -> Path:
    """The one file that matches; BuilderError when the packages do not have it."""
    found = sorted(tree.glob(pattern))
    if not found:
        raise BuilderError(f"the packages of the Xen host have no {pattern}")
    return found[-1]


def libraries(tree: Path) -> Iterator[Path]:
    """Where shared libraries lie, in the order of the search."""
    yield from (tree / place for place in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
