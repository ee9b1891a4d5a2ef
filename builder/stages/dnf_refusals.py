"""What dnf and rpm say when they refuse (dnf 4.14, rpm 4.18), in the words of somebody who writes recipes."""

import re
from collections.abc import Sequence

from builder.catalog.mirrors import mirror_variable
from builder.errors import BuilderError, HostError
from builder.stages.values import PackageSource

_UPDATE = "run: ami-factory lock RECIPE --update"
_ANEW = "make or fetch the repository anew (one that is repacked here: ami-factory build RECIPE --rebuild repository)"
_GONE = (
    f"if a newer one took its place, {_UPDATE}; if not, the mirror is behind or plays old metadata again: use another "
    "one ({variable})"
)
_OTHER = "another mirror ({variable})"
_LIES = f"the mirror is being written to, is damaged, or lies: use {_OTHER}, or try again"
_NO_REPOSITORY = (
    "its address is that of the directory that holds repodata/; a page to log in to may stand in the way, or use "
    + _OTHER
)
_ANOTHER_MIRROR = (
    "set {variable} to the address of a mirror that can be reached (or write it in the recipe, under [mirrors]); "
    "else check the network (https_proxy, http_proxy and no_proxy are passed on)"
)
_OTHER_LENGTH = (
    r"\[MIRROR\] (?P<package>\S+): (?:Interrupted by header callback: )?Inconsistent server data, reported file "
    r"Content-Length: (?P<there>\d+), repository metadata states file length: (?P<said>\d+)"
)
_TAIL = 4000
# These are about this machine, its network or its disk; all others are about the recipe or its repositories.
_UNREACHABLE = "repository {repo} cannot be reached{at}"
_NOT_DOWNLOADED = "{file}{name} cannot be downloaded from any mirror"
_NO_SPACE = "no space for the packages"
_OF_THE_HOST = (_UNREACHABLE, _NOT_DOWNLOADED, _NO_SPACE)


def explain(said: str, sources: Sequence[PackageSource] = ()) -> BuilderError:
    """The error for a failed dnf, from all that it said."""
    detail = said.strip()[-_TAIL:]
    for pattern, brief, hint in _REFUSALS:
        found = re.search(pattern, said, re.MULTILINE)
        if found:
            kind = HostError if brief in _OF_THE_HOST else BuilderError
            return kind(_fill(brief, found, sources), detail=detail, hint=_fill(hint, found, sources))
    return BuilderError("dnf could not install the packages", detail=detail, hint="the log has all that dnf said")


def _fill(text: str, found: re.Match[str], sources: Sequence[PackageSource]) -> str:
    values = {name: value or "" for name, value in found.groupdict().items()}
    named = next((source for source in sources if source.id == values.get("repo")), None)
    address = (named.baseurl or named.metalink or named.mirrorlist) if named else ""
    variable = mirror_variable(named.id) if named else "AMI_FACTORY_MIRROR_ID, the repository's id in capitals,"
    return text.format(**values, at=f" ({address})" if address else "", variable=variable)


_REFUSALS: tuple[tuple[str, str, str], ...] = (
    (
        r"repo '(?P<repo>[^']+)'(?:.|\n)*?(?:signature verification error|Bad GPG signature)|Bad GPG signature",
        "repository {repo}: repomd.xml is not what its key signed{at}",
        f"it is stale, was changed, or another key signed it: correct its keys, or {_ANEW}",
    ),
    (
        r"repo '(?P<repo>[^']+)'(?:.|\n)*?GPG signature is not available",
        "repository {repo}: repomd.xml has no signature, and repo_gpgcheck asks for one{at}",
        "set repo_gpgcheck = false for it if its packages are signed (gpgcheck), or use a signed repository",
    ),
    (
        r"Package \"(?P<package>[^\"]+)\" from .* has incorrect checksum",
        "{package} is not what its repository says: its checksum differs",
        f"the file was changed or is damaged: {_ANEW}",
    ),
    (
        _OTHER_LENGTH,
        "{package} is not what its repository says: {there} bytes instead of {said}",
        _LIES,
    ),
    (
        r"\[MIRROR\] (?P<package>\S+): Downloading successful, but checksum doesn't match",
        "{package} is not what its repository says: its checksum differs",
        _LIES,
    ),
    (
        r"metadata for repo(?:sitory)? '(?P<repo>[^']+)'(?:.|\n)*?checksum doesn't match",
        "repository {repo}: its metadata is not what its repomd.xml says{at}",
        _LIES,
    ),
    (
        r"metadata for repo(?:sitory)? '(?P<repo>[^']+)'(?:.|\n)*?repomd\.xml parser error",
        "repository {repo}: what is there is no repository{at}",
        _NO_REPOSITORY,
    ),
    (
        r"Public key for (?P<package>\S+) is not installed",
        "{package} is signed with a key that the recipe does not name",
        "add the file of that public key to distribution.repositories.keys, if you trust it",
    ),
    (
        r"Package (?P<package>\S+) is not signed",
        "{package} is not signed, and gpgcheck asks for it",
        "use signed packages, or signed metadata (repo_gpgcheck = true, gpgcheck = false)",
    ),
    (
        r"Problem opening package (?P<package>\S+)",
        "{package} is damaged or was changed: rpm does not open it",
        _ANEW,
    ),
    (r"Error: GPG check FAILED", "a package's signature is wrong", _ANEW),
    (
        r"metadata for repo(?:sitory)? '(?P<repo>[^']+)'",
        _UNREACHABLE,
        _ANOTHER_MIRROR,
    ),
    (
        r"Cannot download (?P<file>\S+?):|(?P<name>\S+): Cannot download, all mirrors were already tried",
        _NOT_DOWNLOADED,
        f"try again, or another mirror ({{variable}}); if it is gone from the repository, {_UPDATE}",
    ),
    (
        r"No match for argument: (?P<package>\S+)",
        "{package} is in the lock, but no longer in the repositories",
        _GONE,
    ),
    (r"No space left on device|needs \d+\w+ more space", _NO_SPACE, "free some, or use --store"),
)
