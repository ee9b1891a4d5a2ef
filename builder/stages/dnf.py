"""Installing packages with dnf, for the stages that do: exactly what the lock names, and nothing that differs by run.

dnf runs confined (host/sandbox.py): it sees the tree as /factory/root, the repositories that were made here as
/factory/repositories/ID, and of this machine only programs, read-only. So its configuration names no path of this
machine, and a package's scriptlet cannot leave the tree. What dnf and rpm leave behind that differs from run to run
was found by comparing (dnf 4.14, rpm 4.18).
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from builder.catalog.mirrors import mirror_variable
from builder.errors import BuilderError
from builder.host import process, tree_files
from builder.host.rpm_warnings import check_warnings
from builder.host.sandbox import Bind, require_architecture, run_confined
from builder.stages.contract import StageContext
from builder.stages.dnf_refusals import explain
from builder.stages.values import RPM_DATABASE, LockedPackage, PackageSource

WORK = "/factory"
# RPM's word for Amazon's.
ARCHITECTURES = {"x86_64": "x86_64", "i386": "i686"}

_CONFIGURATION = """\
[main]
reposdir=/dev/null
varsdir=/dev/null
cachedir=/factory/cache
logdir=/factory/log
persistdir=/factory/persist
plugins=False
assumeyes=True
best=True
install_weak_deps=False
skip_if_unavailable=False
localpkg_gpgcheck=True
keepcache=True
deltarpm=False
zchunk=False
color=never
check_config_file_age=False
timeout=30
retries=3
"""
# What dnf 5 calls otherwise, or has no more (dnf5-changes-from-dnf4(7), dnf5.conf(5)): root's cache is system_cachedir,
# file lists are downloaded only if asked for, gpgcheck is pkg_gpgcheck; deltarpm, color and localpkg_gpgcheck are gone.
_NOT_IN_DNF5 = ("localpkg_gpgcheck=True\n", "deltarpm=False\n", "color=never\n")
_DNF5 = "system_cachedir=/factory/cache\noptional_metadata_types=filelists\n"
_QUERY = "%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE} %{ARCH} %{SHA256HEADER} %{PAYLOADDIGEST}\\n"
# dnf makes its cache, diary and log in the tree, at the paths that they have outside it; rpm and SQLite leave locks;
# ldconfig notes when it ran.
_DIFFERS = (
    WORK,
    "/var/cache/ldconfig/aux-cache",
)
_DIFFERS_BESIDE_THE_DATABASE = ("rpmdb.sqlite-shm", ".rpm.lock")
# dnf makes these whether or not a package has them.
_EMPTY = ("/etc/dnf/modules.d", "/etc/dnf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """The repositories of a step, ready to use: dnf's configuration and what it must see."""

    sources: tuple[PackageSource, ...]
    binds: tuple[Bind, ...]

    @property
    def network(self) -> bool:
        return any(not (source.input or _directory(source)) for source in self.sources)


def find_dnf() -> str:
    """The name of this machine's dnf: "dnf" is 4, and "dnf5" 5, which some call dnf as well. HostError for none."""
    path = process.environment()["PATH"]
    for name in ("dnf", "dnf5"):
        if found := shutil.which(name, path=path):
            return "dnf5" if Path(found).resolve().name == "dnf5" else "dnf"
    return process.require("dnf", "dnf")


def _main(program: str) -> str:
    if program != "dnf5":
        return _CONFIGURATION
    kept = _CONFIGURATION
    for line in _NOT_IN_DNF5:
        kept = kept.replace(line, "")
    return kept + _DNF5


def dnf_configuration(sources: Sequence[PackageSource], *, excludes: Sequence[str] = (), program: str = "dnf") -> str:
    """dnf.conf, with every repository in it, for dnf or dnf5. Paths are those that a confined dnf sees."""
    check = "pkg_gpgcheck" if program == "dnf5" else "gpgcheck"
    parts = [_main(program) + (f"excludepkgs={','.join(excludes)}\n" if excludes else "")]
    for source in sources:
        address = {
            "baseurl": f"file://{WORK}/repositories/{source.id}" if source.input else source.baseurl,
            "metalink": source.metalink,
            "mirrorlist": source.mirrorlist,
        }
        keys = [f"file://{WORK}/repositories/{source.id}/signing-key.asc"] if source.input else []
        keys += [f"file://{WORK}/keys/{digest}.asc" for digest in source.keys]
        lines = [f"[{source.id}]", f"name={source.id}", *(f"{key}={value}" for key, value in address.items() if value)]
        lines += [f"{check}={source.gpgcheck:d}", f"repo_gpgcheck={source.repo_gpgcheck:d}"]
        lines += [f"gpgkey={' '.join(keys)}"] if keys else []
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def at_mirrors(sources: Sequence[PackageSource], mirrors: Mapping[str, str]) -> tuple[PackageSource, ...]:
    """The repositories as this machine reaches them; what is made here has no address."""
    return tuple(
        replace(each, baseurl=mirrors[each.id], metalink="", mirrorlist="")
        if each.id in mirrors and not each.input
        else each
        for each in sources
    )


def install_command(
    packages: Sequence[LockedPackage], *, architecture: str, release: str, program: str = "dnf"
) -> list[str]:
    """The command line of a confined dnf or dnf5: the lock's packages, each by its full name."""
    # dnf 5 reads the configuration of the tree that it installs into, unless it is told otherwise.
    options = ["--no-plugins", "--use-host-config"] if program == "dnf5" else ["--noplugins"]
    return [
        program, f"--config={WORK}/home/dnf.conf", f"--installroot={WORK}/root", f"--releasever={release}",
        f"--forcearch={ARCHITECTURES[architecture]}", "--assumeyes", *options, "install",
        *(package.nevra for package in packages),
    ]  # fmt: skip


@contextmanager
def repositories(
    context: StageContext,
    sources: Sequence[PackageSource],
    *,
    excludes: Sequence[str] = (),
    database: str = RPM_DATABASE,
    program: str = "",
) -> Iterator[Repositories]:
    """Write dnf's configuration (for `program`, else this machine's) and gather keys.

    Downloads of one set of repositories are one step's at a time.
    """
    program = program or find_dnf()
    sources = at_mirrors(sources, context.surroundings.mirrors)
    home = context.scratch / "dnf"
    for name in ("home", "keys", "log"):
        (home / name).mkdir(parents=True)
    (home / "home" / "dnf.conf").write_text(dnf_configuration(sources, excludes=excludes, program=program))
    (home / "home" / ".rpmmacros").write_text(f"%_dbpath {database}\n")
    binds = [Bind(source=home / "home", destination=f"{WORK}/home", writable=True)]
    binds += [Bind(source=home / "log", destination=f"{WORK}/log", writable=True)]
    binds += [Bind(source=home / "keys", destination=f"{WORK}/keys")]
    for source in sources:
        if source.input:
            made = context.input(source.input).path
            binds.append(Bind(source=made, destination=f"{WORK}/repositories/{source.id}"))
            _check_fingerprints(source, [made / "signing-key.asc"], home)
        else:
            if directory := _directory(source):
                binds.append(Bind(source=directory, destination=str(directory)))
            _check_fingerprints(source, [_take_key(context, digest, home / "keys") for digest in source.keys], home)
    with _cache(context, sources) as cache:
        binds.append(Bind(source=cache, destination=f"{WORK}/cache", writable=True))
        yield Repositories(sources=tuple(sources), binds=tuple(binds))


def install(
    tree: Path,
    packages: Sequence[LockedPackage],
    found: Repositories,
    *,
    architecture: str,
    release: str,
    source_epoch: int,
    database: str = RPM_DATABASE,
    on_top: bool = False,
) -> None:
    """Install exactly `packages` into `tree`, and leave nothing there that another run would write differently.

    BuilderError if dnf or rpm refuses or warns, or if what is installed afterwards is not `packages` (and, `on_top`,
    what was installed before).
    """
    environment = dnf_environment(source_epoch)
    device = tree / "dev"
    binds = (*found.binds, Bind(source=tree, destination=f"{WORK}/root", writable=True))

    def confined(
        command: Sequence[str], *, network: bool = False, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        place = [f"{WORK}/root/dev"]
        return run_confined(command, env=environment, binds=binds, network=network, devices=place, check=check)

    def installed() -> str:
        return confined(["rpm", "--root", f"{WORK}/root", "-qa", "--queryformat", _QUERY]).stdout.decode()

    device.mkdir(exist_ok=True)
    before = installed() if on_top else ""
    command = install_command(packages, architecture=architecture, release=release, program=find_dnf())
    done = confined(command, network=found.network, check=False)
    said = done.stdout.decode(errors="replace")
    sys.stderr.write(said)
    said += done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise explain(said, found.sources)
    check_warnings(said)
    check_installed(installed(), packages, before)
    remove_traces(tree, database)
    require_architecture(tree)


def dnf_environment(source_epoch: int | None = None) -> dict[str, str]:
    """All that dnf, rpm and gpg see of an environment. rpm 4.18 takes its clock from SOURCE_DATE_EPOCH."""
    clock = {} if source_epoch is None else {"SOURCE_DATE_EPOCH": str(source_epoch)}
    proxies = {name: value for name, value in process.environment().items() if name.endswith("_proxy")}
    return {"PATH": process.PATH, "HOME": f"{WORK}/home", "LC_ALL": "C.UTF-8", "TZ": "UTC", **proxies, **clock}


def check_installed(listed: str, locked: Sequence[LockedPackage], before: str = "") -> None:
    """BuilderError unless the installed packages (as `_QUERY` prints them) are the lock's, digests included, and those
    that were there `before`."""
    wanted = {(each.nevra, each.header_sha256, each.payload_sha256) for each in locked} | _parse_listing(before)
    there = _parse_listing(listed)
    if there == wanted:
        return
    same_name = {nevra for nevra, *_ in there} & {nevra for nevra, *_ in wanted}
    lines = [f"not as locked: {nevra}" for nevra in sorted({n for n, *_ in there ^ wanted} & same_name)]
    lines += [f"not in the lock: {nevra}" for nevra in sorted({n for n, *_ in there - wanted} - same_name)]
    lines += [f"not installed: {nevra}" for nevra in sorted({n for n, *_ in wanted - there} - same_name)]
    raise BuilderError(
        f"what dnf installed is not what the lock names: {lines[0]}",
        detail="\n".join(lines[:40]),
        hint="the repository has changed since: run ami-factory lock RECIPE --update",
    )


def remove_traces(tree: Path, database: str = RPM_DATABASE) -> None:
    """Remove what differs between two equal runs of dnf and rpm, and this machine's identity."""
    for path in (*_DIFFERS, *(f"{database}/{name}" for name in _DIFFERS_BESIDE_THE_DATABASE)):
        tree_files.remove(tree, path)
    journal = tree_files.locate(tree, f"{database}/rpmdb.sqlite-wal")
    if journal.exists():
        if journal.stat().st_size:
            raise BuilderError("rpm left its database open: its journal is not empty")
        journal.unlink()
    for path in _EMPTY:
        with suppress(OSError):
            tree_files.locate(tree, path).rmdir()
    if tree_files.read(tree, "/etc/machine-id"):
        tree_files.write(tree, "/etc/machine-id", b"", mode=0o444)


def _parse_listing(listed: str) -> set[tuple[str, str, str]]:
    return {_parse_installed(line) for line in listed.splitlines() if not line.startswith("gpg-pubkey ")}


def _parse_installed(line: str) -> tuple[str, str, str]:
    name, epoch, version, release, architecture, header, payload = line.split()
    return f"{name}-{epoch}:{version}-{release}.{architecture}", header, payload


def _directory(source: PackageSource) -> Path | None:
    """Where on this machine a repository of `file:` lies, up to the first variable in its address."""
    if not source.baseurl.startswith("file://"):
        return None
    directory = Path(source.baseurl.removeprefix("file://").partition("$")[0])
    if not directory.is_dir():
        raise BuilderError(
            f"repository {source.id}: {directory} is not a directory of this machine",
            hint=f"correct its baseurl, its address under [mirrors], or {mirror_variable(source.id)}",
        )
    return directory


def _take_key(context: StageContext, digest: str, keys: Path) -> Path:
    source = Path(context.surroundings.sources[digest])
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise BuilderError(f"{source} changed while it was used", hint="run the same command again")
    taken = keys / f"{digest}.asc"
    taken.write_bytes(data)
    return taken


def _check_fingerprints(source: PackageSource, keys: Sequence[Path], home: Path) -> None:
    """Only the keys that are pinned may be in the files."""
    if not source.fingerprints:
        return
    gpg = home / "gpg"
    gpg.mkdir(mode=0o700, exist_ok=True)
    for key in keys:
        shown = process.run(
            ["gpg", "--batch", "--homedir", gpg, "--with-colons", "--show-keys", key], capture=True, check=False
        )
        unknown = sorted(set(primary_fingerprints(shown.stdout.decode())) - set(source.fingerprints))
        if unknown or shown.returncode != 0:
            raise BuilderError(
                f"repository {source.id}: {key.name} is not the key that was pinned",
                detail="\n".join(f"found: {each}" for each in unknown),
                hint="expected " + ", ".join(source.fingerprints),
            )


def primary_fingerprints(listing: str) -> tuple[str, ...]:
    """The fingerprints of the primary keys in `gpg --with-colons --show-keys`: the fpr line after each pub line."""
    return tuple(re.findall(r"^pub:.*\n(?:(?!pub:|fpr:).*\n)*fpr:+([0-9A-F]{40,64}):", listing, re.MULTILINE))


@contextmanager
def _cache(context: StageContext, sources: Sequence[PackageSource]) -> Iterator[Path]:
    """Where dnf downloads to. Repositories that are made here are read in place, so theirs is thrown away.

    dnf's own lock names a process, which says nothing in another PID namespace: so the directory is locked here.
    """
    remote = [source for source in sources if not source.input]
    if not remote:
        cache = context.scratch / "dnf" / "cache"
        cache.mkdir()
        yield cache
        shutil.rmtree(cache)
        return
    name = hashlib.sha256(dnf_configuration(remote).encode()).hexdigest()[:12]
    cache = context.surroundings.cache / "dnf" / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache
