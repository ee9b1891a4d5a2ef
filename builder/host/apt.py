"""Packages of Debian's kind: chosen, pinned and fetched through a private state of apt's.

The host's own configuration says where the archive is and whose signatures count, unless a caller has sources of its
own; no address is recorded anywhere. apt's lists, status and cache are ours, so that neither the host's packages nor
its foreign architectures have a say, and an ordinary user can do it.
"""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.errors import BuilderError, HostError, RecipeError
from builder.formats.deb import parse_paragraph
from builder.host import process

_INSTALLED = re.compile(r"^Inst (?P<name>[^ :]+)\S* (?:\[[^]]*\] )?\((?P<version>\S+) .*\[(?P<architecture>\w+)\]\)")
_UNKNOWN = re.compile(r"^E: Unable to locate package (\S+)|^E: Package '([^']+)' has no installation candidate", re.M)
_VANISHED = re.compile(r"^E: Version '[^']*' for '([^':]+)\S*' was not found|^E: Can't find .* '([^']+)'", re.M)
_SUITE = re.compile(r"Failed to fetch \S*/dists/(\S+?)/(?:[^/\s]+/binary-\S+|InRelease|Release\S*)\s+(.*)$", re.M)
_UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Network is unreachable"
    r"|Connection (?:failed|refused|timed out)|No route to host"
)

# apt-get tells a pipe nothing while it downloads: so many packages at a time are asked of it.
_BATCH = 24

_NO_SUITE = re.compile(r"^E: The repository '\S+ (\S+) Release' does not have a Release file", re.M)
_UNTRUSTED = re.compile(r"NO_PUBKEY|EXPKEYSIG|REVKEYSIG|BADSIG|[Ss]ignatures? couldn't be verified|is not signed")

Note = Callable[[str], object]


class Pinned(Protocol):
    """One .deb file, as it is asked for."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """One .deb file of the archive, pinned."""

    name: str
    version: str
    architecture: str
    """Debian's word: amd64, i386 or all."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where packages are taken from, in place of the host's own configuration."""

    text: str
    """deb822, as sources.list(5) has it."""
    excludes: tuple[str, ...] = ()
    """Packages that are never chosen."""
    remedy: str = ""
    """What to do when one of these cannot be reached."""

    @property
    def name(self) -> str:
        """Of a directory: other sources have other lists."""
        return hashlib.sha256(f"{self.text}\n{self.excludes}".encode()).hexdigest()[:12]


class Progress(Protocol):
    """Says how many bytes have been fetched."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def layered(
    debian: str,
    groups: Sequence[Sequence[str]],
    state: Path,
    note: Note,
    sources: Sources,
    *,
    always: Sequence[str] = (),
) -> tuple[tuple[Deb, ...], ...]:
    """What apt would install for each group of names on top of those before it, in a system that is empty at first.

    See `closure`; `sources` are in place of the host's own. A package stands in the first group that needs it.
    """
    with private_apt(debian, state, sources) as configuration:
        update(configuration, note, sources)
        found: dict[str, str] = {}
        layers = []
        for group in groups:
            before = [f"{name}={version}" for name, version in found.items()]
            chosen = _choose(configuration, [*always, *before], group, sources) if group else []
            layers.append(tuple(_records(configuration, [each for each in chosen if each[0] not in found])))
            found.update(chosen)
        return tuple(layers)


def addresses(debian: str, state: Path, labels: Sequence[str], note: Note) -> dict[str, str]:
    """Where the host's own apt has these archives from, by the label of their Release files; those that it does not
    know are left out. The lists are read when one is not among those that are here."""
    with private_apt(debian, state) as configuration:
        known = _targets(configuration)
        if not known.keys() >= set(labels):
            update(configuration, note)
            known = _targets(configuration)
    return {label: known[label] for label in labels if label in known}


def _targets(configuration: Path) -> dict[str, str]:
    listed = process.run(
        [*_apt_get(configuration), "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"],
        capture=True,
    )
    pairs = (line.partition(" ") for line in listed.stdout.decode(errors="replace").splitlines())
    found: dict[str, str] = {}
    for address, _, label in pairs:
        found.setdefault(label, address)
    return found


def closure(
    debian: str, roots: Sequence[str], state: Path, note: Note, *, always: Sequence[str] = ()
) -> tuple[Deb, ...]:
    """What apt would install for `roots` in an empty system, from the archive as it is now, sorted by name.

    `debian` is the architecture; `always` are roots that the caller did not choose, so no error names them. `state` is
    a directory of ours for apt, made if missing. A part of the archive that is inconsistent just now is said by `note`
    and left out; no network at all is a HostError.
    """
    with private_apt(debian, state) as configuration:
        update(configuration, note)
        return tuple(_records(configuration, _choose(configuration, always, roots)))


def _choose(
    configuration: Path, always: Sequence[str], roots: Sequence[str], sources: Sources | None = None
) -> list[tuple[str, str]]:
    """Name and version of each package that would be installed, sorted."""
    simulated = process.run(
        # At -q=2 apt would not say which relation cannot be met.
        [*_apt_get(configuration), "-q=1", "--simulate", "install", *always, *roots],
        capture=True,
        check=False,
    )
    if simulated.returncode != 0:
        raise _unresolvable((simulated.stdout + simulated.stderr).decode(errors="replace"), roots, sources)
    lines = simulated.stdout.decode().splitlines()
    return sorted((match["name"], match["version"]) for line in lines if (match := _INSTALLED.match(line)))


def fetch(
    sources: Sequence[Pinned],
    debian: str,
    *,
    state: Path,
    cache: Path,
    progress: Progress,
    remedy: str,
    origin: Callable[[], Sources] | None = None,
) -> dict[str, Path]:
    """The .deb file of every source, by name, each with the digest it is pinned to.

    Files are kept as `cache/SHA256.deb`; when all are there, apt is not asked. A version that the archive no
    longer has is a BuilderError that names it, with `remedy` as what to do. `origin` is asked for what to take the
    place of the host's own sources when something is missing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    kept = {source.sha256: cache / f"{source.sha256}.deb" for source in sources}
    missing = [source for source in sources if not _is_kept(kept[source.sha256], source.sha256)]
    if missing:
        total = sum(source.size for source in missing)
        other = origin() if origin else None
        for start in range(0, len(missing), _BATCH):
            progress("fetch", sum(source.size for source in missing[:start]), total)
            _download(missing[start : start + _BATCH], debian, state, cache, remedy, other)
        progress("fetch", total, total)
    return {source.name: kept[source.sha256] for source in sources}


def format_configuration(debian: str, directory: Path, *, own_sources: bool = False) -> str:
    """apt.conf(5), read after the host's own and over it. `own_sources`: the host's are not looked at."""
    own = f"""\
Dir::Etc::sourcelist "{directory}/own.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "{directory}/preferences";
Dir::Etc::preferencesparts "/dev/null";
"""
    return (
        (own if own_sources else "")
        + f"""\
APT::Architecture "{debian}";
#clear APT::Architectures;
APT::Architectures {{ "{debian}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear AptCli::Hooks;
pkgCacheGen::ForceEssential ",";
Dir::State "{directory}/state";
Dir::State::status "{directory}/status";
Dir::Cache "{directory}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "{directory}/log";
Acquire::Retries "2";
Acquire::Languages "none";
"""
    )


@contextmanager
def private_apt(debian: str, state: Path, sources: Sources | None = None) -> Iterator[Path]:
    """apt's private state for one architecture and its sources, held alone: the path of its configuration."""
    directory = state / sources.name / debian if sources else state / debian
    if '"' in str(directory):
        raise HostError(f"{directory}: apt cannot use a path with a quotation mark", hint="put the store elsewhere")
    for part in ("state/lists/partial", "cache/archives/partial", "log"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    (directory / "status").touch()
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        configuration = directory / "apt.conf"
        configuration.write_text(
            format_configuration(debian, directory, own_sources=sources is not None), encoding="utf-8"
        )
        if sources:
            (directory / "own.sources").write_text(sources.text, encoding="utf-8")
            (directory / "preferences").write_text(_preferences(sources.excludes), encoding="utf-8")
        yield configuration


def _preferences(excludes: Sequence[str]) -> str:
    """apt_preferences(5): a negative priority keeps a package from being installed."""
    return "".join(f"Package: {name}\nPin: release *\nPin-Priority: -1\n\n" for name in excludes)


def _apt_get(configuration: Path) -> list[str | Path]:
    return [process.require("apt-get", "apt"), "-q=2", "--config-file", configuration]


def update(configuration: Path, note: Note, sources: Sources | None = None) -> None:
    """Read the archive's lists, the host's own or those of `sources`. A suite that is inconsistent on the mirror keeps
    its older list, and is noted."""
    # Without the error mode apt 2.6 exits 0 when a list could not be fetched.
    done = process.run(
        [*_apt_get(configuration), "--option", "APT::Update::Error-Mode=any", "update"], capture=True, check=False
    )
    if done.returncode == 0:
        return
    said = done.stderr.decode(errors="replace")
    if _UNREACHABLE.search(said):
        raise no_network(said, sources)
    if sources and (without := _NO_SUITE.search(said)):
        raise RecipeError(
            f"distribution.repositories: there is no suite {without[1]} where the recipe's archives are",
            detail=said.strip()[-2000:],
            hint="correct suites or release, or take another mirror",
        )
    if sources and _UNTRUSTED.search(said):
        raise BuilderError(
            "an archive of the recipe is not signed by one of its keys",
            detail=said.strip()[-2000:],
            hint="correct keyring or keys of the repository, if you trust what signed it",
        )
    suites = {suite: why for suite, why in _SUITE.findall(said)}
    lists = configuration.parent / "state" / "lists"
    if not suites or not any(lists.glob("*_Packages*")):
        raise BuilderError(
            "apt-get update failed", detail=said.strip()[-2000:], hint="see what apt-get update says on this machine"
        )
    for suite, why in sorted(suites.items()):
        note(
            f"the suite {suite} is inconsistent on this machine's mirror ({why.partition(' [')[0].strip()}): "
            f"its {configuration.parent.name} packages are not the newest; try again later"
        )


def no_network(said: str, sources: Sources | None = None) -> HostError:
    """What is said when the archive cannot be reached."""
    return HostError(
        "an archive of the recipe cannot be reached" if sources else "the Debian archive cannot be reached",
        detail=said.strip()[-1000:],
        hint=(sources.remedy if sources else "") or "check the network (or the proxy) with: apt-get update",
    )


def _unresolvable(said: str, roots: Sequence[str], sources: Sources | None = None) -> BuilderError:
    unknown = sorted({one or other for one, other in _UNKNOWN.findall(said)})
    if unknown and sources:
        excluded = sorted(set(unknown) & set(sources.excludes))
        return RecipeError(
            f"distribution.packages, or the kernel's: no archive of the recipe has {', '.join(unknown)}"
            + (f" ({', '.join(excluded)} is in distribution.excludes)" if excluded else ""),
            hint="correct the name, or add the suite or component that has it to distribution.repositories",
        )
    if unknown:
        return RecipeError(
            f"the Debian archive of this machine has no package {', '.join(unknown)}",
            hint="correct the name, or see apt-cache search; a host sources file may be limited to one architecture",
        )
    return BuilderError(
        f"apt cannot choose packages for {', '.join(roots)}", detail=said.strip()[-2000:],
        hint="packages of the list exclude each other, or the mirror is being updated: try again later",
    )  # fmt: skip


def _records(configuration: Path, chosen: Sequence[tuple[str, str]]) -> Iterator[Deb]:
    """Digest and size of the chosen versions, from the signed lists."""
    if not chosen:
        return
    shown = process.run(
        [
            process.require("apt-cache", "apt"), "--config-file", configuration, "--no-all-versions", "show",
            *(f"{name}={version}" for name, version in chosen),
        ],
        capture=True,
    )  # fmt: skip
    paragraphs = shown.stdout.decode().split("\n\n")
    records = {
        (fields["Package"], fields["Version"]): fields
        for fields in map(parse_paragraph, paragraphs)
        if "SHA256" in fields
    }
    for name, version in chosen:
        if (name, version) not in records:
            raise BuilderError(f"the archive's lists have no SHA-256 for {name} {version}")
        fields = records[name, version]
        yield Deb(
            name=name,
            version=version,
            architecture=fields["Architecture"],
            sha256=fields["SHA256"],
            size=int(fields["Size"]),
        )


def _download(
    wanted: Sequence[Pinned], debian: str, state: Path, cache: Path, remedy: str, sources: Sources | None
) -> None:
    """Get files into the cache, reading the archive's lists anew if a version is not known."""
    with private_apt(debian, state, sources) as configuration:
        work = configuration.parent / "download"
        shutil.rmtree(work, ignore_errors=True)  # of one that was killed
        work.mkdir()
        said = _try_download(configuration, wanted, work, sources)
        if said:
            update(configuration, lambda text: None, sources)
            said = _try_download(configuration, wanted, work, sources)
        found = {_sha256(path): path for path in work.glob("*.deb")}
        for source in wanted:
            if source.sha256 in found:
                found[source.sha256].rename(cache / f"{source.sha256}.deb")
        shutil.rmtree(work)
    lost = [source for source in wanted if source.sha256 not in found]
    if lost:
        raise _vanished(said, lost, remedy)


def _try_download(configuration: Path, wanted: Sequence[Pinned], work: Path, sources: Sources | None) -> str:
    """What apt said against it; "" when it was done. HostError when the archive cannot be reached."""
    done = process.run(
        [*_apt_get(configuration), "download", *(f"{each.name}={each.version}" for each in wanted)],
        cwd=work,
        capture=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace") if done.returncode != 0 else ""
    if _UNREACHABLE.search(said):
        raise no_network(said, sources)
    return said


def _vanished(said: str, lost: Sequence[Pinned], remedy: str) -> BuilderError:
    named = {one or other for one, other in _VANISHED.findall(said)}
    gone = [each for each in lost if each.name in named] or list(lost)
    first = gone[0]
    others = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    return BuilderError(
        f"the archive no longer has {first.name} {first.version} as it is locked{others}",
        detail="\n".join(f"{each.name} {each.version} {each.architecture} sha256:{each.sha256}" for each in gone[:20]),
        hint=remedy,
    )


def _is_kept(path: Path, sha256: str) -> bool:
    """Whether the cache has the file, whole; one that is not whole is removed."""
    if not path.exists():
        return False
    if _sha256(path) == sha256:
        return True
    path.unlink()
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
