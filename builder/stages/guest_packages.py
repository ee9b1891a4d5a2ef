"""Installing packages in an existing image by the package manager that is in it, for the stages that do.

It runs in the sandbox, and has the network for as long as it runs: its repositories and keys are the image's own.
What it leaves behind that differs from run to run is removed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, RecipeError
from builder.host import tree_files
from builder.host.sandbox import Bind, run_in_tree
from builder.stages.values import GuestPackage

_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_NO_SERVICES = b"#!/bin/sh\nexit 101\n"  # policy-rc.d(8): no service is started by a package
_TAIL = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """One package manager: its command lines, and what of its own is not to stay in the tree."""

    prepare: tuple[tuple[str, ...], ...]
    install: tuple[str, ...]
    query: tuple[str, ...]
    """Prints a line NAME VERSION ARCHITECTURE for every package that is installed."""
    pinned: str
    """How a package with its version is named on the command line."""
    hidden: tuple[str, ...]
    """Directories that it fills, empty and outside the tree while it runs."""
    remove: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


_APT = ("apt-get", "--yes", "--quiet", "-o", "APT::Sandbox::User=root", "-o", "Dpkg::Use-Pty=0")
_RPM = ("rpm", "-qa", "--qf", "%{NAME} %{EVR} %{ARCH}\\n")
_DNF_LEFT = ("/var/lib/dnf/history.sqlite-shm", "/var/lib/dnf/history.sqlite-wal", "/var/cache/ldconfig/aux-cache")


def _dnf(program: str) -> Manager:
    return Manager(
        prepare=(),
        install=(program, "--assumeyes", "--quiet", "--setopt=install_weak_deps=False", "install"),
        query=_RPM,
        pinned="{name}-{version}.{architecture}",
        hidden=(f"/var/cache/{program}", "/var/cache/libdnf5" if program == "dnf" else "/var/tmp", "/var/log"),
        remove=_DNF_LEFT,
    )


MANAGERS: Mapping[str, Manager] = {
    "apt": Manager(
        prepare=((*_APT, "update"),),
        install=(
            *_APT, "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "-o",
            "Dpkg::Options::=--force-confdef", "install",
        ),
        query=("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version} ${Architecture}\\n"),
        pinned="{name}:{architecture}={version}",
        hidden=("/var/lib/apt/lists", "/var/cache/apt", "/var/log"),
        remove=("/var/cache/ldconfig/aux-cache", "/var/cache/debconf/config.dat-old", "/var/lib/dpkg/status-old"),
        environment=(("DEBIAN_FRONTEND", "noninteractive"),),
    ),
    "dnf": _dnf("dnf"),
    "yum": _dnf("yum"),
}  # fmt: skip


def install(tree: Path, manager: str, packages: Sequence[GuestPackage], *, scratch: Path, epoch: int) -> None:
    """Install exactly these versions. BuilderError when the archive no longer has one, or something else came in."""
    kind = manager_of(manager)
    before = installed(tree, kind)
    wanted = {each.name: each for each in packages}
    names = [
        kind.pinned.format(name=each.name, version=each.version, architecture=each.architecture) for each in packages
    ]
    _run(tree, kind, manager, names, scratch, epoch)
    came = added(before, installed(tree, kind))
    other = [each for each in came if wanted.get(each.name) != each]
    if other:
        raise BuilderError(
            f"{manager} installed {other[0].name} {other[0].version}, which the lock does not have",
            hint="the archive has changed: ami-factory lock --update RECIPE",
        )


def resolve(tree: Path, manager: str, names: Sequence[str], *, scratch: Path, epoch: int) -> list[GuestPackage]:
    """Install what these names are today; what has come by that."""
    if not names:
        return []
    kind = manager_of(manager)
    before = installed(tree, kind)
    _run(tree, kind, manager, names, scratch, epoch)
    return added(before, installed(tree, kind))


def manager_of(name: str) -> Manager:
    """RecipeError for an image that has none that is known."""
    if name not in MANAGERS:
        raise RecipeError(
            "packages cannot be added to this image: it has none of apt, dnf and yum",
            hint='leave base.packages out, write kernel = "inside", and bring files by [[files]] and [[scripts]]',
        )
    return MANAGERS[name]


def installed(tree: Path, kind: Manager) -> frozenset[GuestPackage]:
    """What the image's own database says."""
    done = run_in_tree(tree, kind.query, env={}, capture=True)
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) == 4 and words[0] == "installed":
            words = words[1:]
        if len(words) == 3 and words[0] != "gpg-pubkey":
            found.append(GuestPackage(name=words[0], version=words[1].removeprefix("(none):"), architecture=words[2]))
    return frozenset(found)


def added(before: frozenset[GuestPackage], after: frozenset[GuestPackage]) -> list[GuestPackage]:
    return sorted(after - before, key=lambda each: (each.name, each.architecture))


def _run(tree: Path, kind: Manager, manager: str, names: Sequence[str], scratch: Path, epoch: int) -> None:
    environment = {**dict(kind.environment), "SOURCE_DATE_EPOCH": str(epoch), **_proxies()}
    with _binds(tree, kind, scratch) as binds:
        for command in (*kind.prepare, (*kind.install, *names)):
            done = run_in_tree(tree, command, network=True, env=environment, binds=binds, capture=True, check=False)
            if done.returncode:
                raise _refused(manager, command, done.stdout + done.stderr)
    for path in kind.remove:
        tree_files.locate(tree, path).unlink(missing_ok=True)


@contextmanager
def _binds(tree: Path, kind: Manager, scratch: Path) -> Iterator[list[Bind]]:
    """Empty directories over those that a package manager fills with what differs, and no services."""
    policy = scratch / "policy-rc.d"
    policy.write_bytes(_NO_SERVICES)
    policy.chmod(0o755)
    binds = []
    if tree_files.exists(tree, "/usr/sbin"):
        binds.append(Bind(source=policy, destination="/usr/sbin/policy-rc.d"))
    for number, path in enumerate(kind.hidden):
        if tree_files.exists(tree, path):
            place = scratch / f"hidden-{number}"
            for each in (place, place / "partial", place / "archives" / "partial", place / "apt"):
                each.mkdir(parents=True, exist_ok=True)
            place.chmod(0o755)
            binds.append(Bind(source=place, destination=path, writable=True))
    yield binds


def _proxies() -> dict[str, str]:
    """How this machine reaches the network."""
    return {name: os.environ[name] for name in _PROXIES if name in os.environ}


def _refused(manager: str, command: Sequence[str], said: bytes) -> BuilderError:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E: ", "Error: ", "No match", "Unable to find"))]
    brief = (errors or lines or ["no reason given"])[0].removeprefix("E: ")[:300]
    update = command[-1] == "update"
    return BuilderError(
        f"the image's own {manager} {'cannot reach its archive' if update else 'refused'}: {brief}",
        detail="\n".join(lines)[-_TAIL:],
        hint="see the image's own repositories (/etc/apt, /etc/yum.repos.d); a version that is gone: "
        "ami-factory lock --update RECIPE",
    )
