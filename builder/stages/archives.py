"""Where .deb files come from, for the stages that install them: archives of Debian's kind, and what a lock pins.

An archive is named, not addressed: where this machine's own apt has it from is where it is taken from, unless a mirror
is set. Whose signatures count is the recipe's to say, so a mirror of any origin will do.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.catalog.mirrors import mirror_variable
from builder.errors import BuilderError, HostError, RecipeError
from builder.formats.deb_archive import Deb, DebFormatError, read_deb
from builder.host import apt, zstd
from builder.stages.contract import Result, StageContext
from builder.stages.values import DebArchive, LockedDeb

KEYRINGS = Path("/usr/share/keyrings")
# Amazon's word to Debian's.
ARCHITECTURES = {"x86_64": "amd64", "i386": "i386"}
# In an empty system apt does not add Essential packages by itself; these would bring what turns a system into one
# with a merged /usr, which the tree is from the beginning.
ALWAYS = ("?essential", "usr-is-merged")
_REMEDY = "run: ami-factory lock RECIPE --update"


def resolve(
    groups: Mapping[str, Sequence[str]],
    archives: Sequence[DebArchive],
    architecture: str,
    excludes: tuple[str, ...],
    context: StageContext,
) -> Result:
    """What `lock` pins: for each group of names what it adds to those before it, each a LockedDeb as plain data.
    All of them are downloaded."""
    debian = debian_architecture(architecture)
    found = apt.layered(
        debian,
        [*groups.values()],
        _state(context),
        context.note,
        _sources(archives, debian, context, excludes=excludes),
        always=ALWAYS,
    )
    files = _fetch([deb for layer in found for deb in layer], archives, debian, context)
    return {group: [_pinned(deb, files[deb.name]) for deb in layer] for group, layer in zip(groups, found, strict=True)}


def fetch(
    packages: Sequence[LockedDeb], archives: Sequence[DebArchive], architecture: str, context: StageContext
) -> dict[str, Path]:
    """The file of every locked package, by name, each with its digest. BuilderError names one that is gone."""
    return _fetch(packages, archives, debian_architecture(architecture), context)


def debian_architecture(architecture: str) -> str:
    """amd64 for x86_64, i386 for i386."""
    return ARCHITECTURES[architecture]


def format_sources(
    archives: Sequence[DebArchive], places: Mapping[str, str], keys: Mapping[str, str], debian: str
) -> str:
    """sources.list(5) in the form of deb822. `places`: an archive's id to its address. `keys`: SHA-256 to the text of
    a public key."""
    return "\n".join(
        f"Types: deb\nURIs: {places[each.id]}\nSuites: {' '.join(each.suites)}\n"
        f"Components: {' '.join(each.components)}\nArchitectures: {debian}\n"
        f"Signed-By:{_signed_by(each, keys)}\n"
        for each in archives
    )


def read(path: Path, name: str) -> Deb:
    """What a .deb file says of itself. BuilderError for one that is none."""
    try:
        with path.open("rb") as file:
            return read_deb(file, zstd=zstd.unpack)
    except DebFormatError as error:
        raise BuilderError(f"{name}: what the archive has is no Debian package: {error}", hint=_REMEDY) from None


def _signed_by(archive: DebArchive, keys: Mapping[str, str]) -> str:
    if archive.keyring:
        return f" {KEYRINGS / archive.keyring}.gpg"
    lines = "\n".join(keys[digest].strip() for digest in archive.keys).splitlines()
    return "".join(f"\n {line or '.'}" for line in lines)


def _fetch(
    debs: Sequence[apt.Deb] | Sequence[LockedDeb], archives: Sequence[DebArchive], debian: str, context: StageContext
) -> dict[str, Path]:
    return apt.fetch(
        debs,
        debian,
        state=_state(context),
        cache=context.surroundings.cache / "debs",
        progress=context.progress,
        remedy=_REMEDY,
        origin=lambda: _sources(archives, debian, context),
    )


def _state(context: StageContext) -> Path:
    return context.surroundings.cache / "apt"


def _sources(
    archives: Sequence[DebArchive], debian: str, context: StageContext, *, excludes: tuple[str, ...] = ()
) -> apt.Sources:
    places = _places(archives, debian, context)
    for each in archives:
        if each.keyring and not (KEYRINGS / f"{each.keyring}.gpg").is_file():
            raise HostError(
                f"distribution.repositories {each.id}: this machine has no keyring {KEYRINGS / each.keyring}.gpg",
                hint=f"run: apt-get install {each.keyring} (or bring the archive's public key, and name it in keys)",
            )
    keys = {digest: _key(digest, context) for each in archives for digest in each.keys}
    variables = ", ".join(mirror_variable(each.id) for each in archives)
    return apt.Sources(
        text=format_sources(archives, places, keys, debian),
        excludes=excludes,
        remedy=f"check the network (or the proxy), or say where a mirror is: {variables} in the environment, or "
        "[mirrors] in the recipe",
    )


def _places(archives: Sequence[DebArchive], debian: str, context: StageContext) -> dict[str, str]:
    """The address of each: a mirror's, the recipe's, or the host's own."""
    mirrors = context.surroundings.mirrors
    places = {each.id: mirrors.get(each.id) or each.baseurl for each in archives}
    labels = [each.archive for each in archives if not places[each.id]]
    known = apt.addresses(debian, _state(context), labels, context.note) if labels else {}
    for each in archives:
        if not places[each.id] and each.archive not in known:
            raise HostError(
                f'distribution.repositories {each.id}: this machine\'s apt knows no archive "{each.archive}"',
                hint=f"say where one is: {mirror_variable(each.id)}=ADDRESS in the environment, or {each.id} under "
                "[mirrors] in the recipe",
            )
        places[each.id] = places[each.id] or known[each.archive]
    return places


def _key(digest: str, context: StageContext) -> str:
    """An author's public key, as text."""
    source = Path(context.surroundings.sources[digest])
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise BuilderError(f"{source} changed while it was used", hint="run the same command again")
    text = data.decode("ascii", "replace")
    if not text.lstrip().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        raise RecipeError(
            f"distribution.repositories.keys: {source.name} is not a public key in text form",
            hint="write it with gpg --armor --export",
        )
    return text


def _pinned(deb: apt.Deb, path: Path) -> dict[str, str | int]:
    """A LockedDeb as plain data."""
    return {
        "name": deb.name,
        "version": deb.version,
        "architecture": deb.architecture,
        "sha256": deb.sha256,
        "size": deb.size,
        "build_time": read(path, deb.name).build_time,
    }
