"""The .deb files that a repository is made of: chosen and pinned, and fetched from the host's own archive."""

from collections.abc import Sequence
from pathlib import Path

from builder.errors import BuilderError, RecipeError
from builder.host import apt
from builder.host.apt import Note
from builder.stages.contract import Progress
from builder.stages.values import SourcePackage

DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "i386": "i386"}

# With an empty status apt does not add Essential packages by itself. usr-is-merged is what makes the /usr of the
# repacked distribution true; without it apt takes usrmerge, a converter that needs all of perl.
ALWAYS = ("?essential", "usr-is-merged")


def resolve(architecture: str, roots: Sequence[str], state: Path, note: Note) -> tuple[SourcePackage, ...]:
    """The closure of `roots` and the essential packages in the host's archive as it is now, sorted by name.

    `architecture` is Amazon's word; see apt.closure.
    """
    found = apt.closure(debian_architecture(architecture), roots, state, note, always=ALWAYS)
    return tuple(
        SourcePackage(
            name=each.name, version=each.version, architecture=each.architecture, sha256=each.sha256, size=each.size
        )
        for each in found
    )


def fetch(sources: Sequence[SourcePackage], *, state: Path, cache: Path, progress: Progress) -> dict[str, Path]:
    """The .deb file of every source, by name, each with the digest it is pinned to; see apt.fetch."""
    return apt.fetch(
        sources,
        _common_architecture(sources),
        state=state,
        cache=cache,
        progress=progress,
        remedy="run: ami-factory lock RECIPE --update",
    )


def _common_architecture(sources: Sequence[SourcePackage]) -> str:
    """The one architecture that sources are for, besides `all`."""
    found = {source.architecture for source in sources} - {"all"} or {"amd64"}
    if len(found) > 1 or not found <= set(DEBIAN_ARCHITECTURES.values()):
        raise BuilderError(f"packages for {', '.join(sorted(found))} cannot be in one repository")
    return found.pop()


def debian_architecture(architecture: str) -> str:
    """amd64 for x86_64, i386 for i386."""
    if architecture not in DEBIAN_ARCHITECTURES:
        raise RecipeError(f"{architecture} is not an architecture of the quickstart distribution: x86_64 or i386")
    return DEBIAN_ARCHITECTURES[architecture]
