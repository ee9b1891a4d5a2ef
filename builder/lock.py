"""The lock: every package a recipe needs, pinned, for each architecture. Kept beside the recipe as NAME.lock."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from builder.canonical import digest_of, later, to_plain
from builder.catalog.kernels import Kernel
from builder.errors import RecipeError
from builder.recipe.model import Recipe
from builder.stages.values import GuestPackage, Installed, Locked, LockedDeb, LockedPackage, SourcePackage

FORMAT = 1

_Package = TypeVar("_Package", LockedPackage, LockedDeb, SourcePackage, GuestPackage, Installed)
# Keys of a repository that came when locks had been made without them: those keep fitting.
_LATER = ("archive", "suites", "components", "keyring")
# Names, versions and digests become arguments of programs and names of files: no option, no path.
_WORD = re.compile(r"[^\s/-][^\s/]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLock:
    """An existing image, pinned, and what is in it."""

    kind: str
    format: str
    pin: str
    region: str
    location: str
    """Of what is in the region; "" for the path that the recipe gives."""
    os: str
    release: str
    manager: str
    source_epoch: int
    installed: tuple[Installed, ...]
    packages: tuple[GuestPackage, ...]
    """What the recipe adds, with all that it needs, by the image's own package manager."""
    kernel_packages: tuple[GuestPackage, ...]
    hvm_packages: tuple[GuestPackage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureLock:
    sources: tuple[SourcePackage, ...]
    """.deb files that the repository is made from; empty where the repositories have addresses."""
    packages: tuple[Locked, ...]
    kernel_packages: tuple[Locked, ...]
    notes: tuple[str, ...] = ()
    hvm_packages: tuple[Locked, ...] = later(())
    """What the boot loader of hvm adds to all the others."""
    base: BaseLock | None = later(None)
    """In place of all of these, where the recipe starts from an image."""
    metadata: tuple[tuple[str, int], ...] = later(())
    """A repository's id and when the metadata that this was resolved from was made, in seconds since 1970: so that
    older ones are not taken for newer ones the next time."""

    @property
    def source_epoch(self) -> int:
        """Newest build time of any locked package: the one clock of what is built for this architecture."""
        newest = self.base.source_epoch if self.base else 0
        return max((each.build_time for each in (*self.packages, *self.kernel_packages)), default=newest)

    @property
    def installed(self) -> tuple[tuple[str, str], ...]:
        """(name, version) of every package of the tree, but for the kernel's."""
        found = [(each.name, each.version) for each in self.packages]
        if self.base:
            found += [(each.name, each.version) for each in self.base.installed]
            found += [(each.name, each.version) for each in self.base.packages]
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    recipe: str
    asks: str
    """Digest of all that the recipe and the kernel ask of the package resolver; another one makes the lock stale."""
    architectures: Mapping[str, ArchitectureLock]


def lock_path(recipe: Path) -> Path:
    return recipe.with_suffix(".lock")


def asks(
    recipe: Recipe,
    kernel: Kernel,
    keys: Mapping[str, str],
    repacked: str = "",
    by_architecture: Mapping[str, Recipe] | None = None,
) -> str:
    """Digest of what decides the resolution.

    `keys`: GPG key file to its SHA-256. `repacked`: digest of how .deb files become RPMs, for a recipe that has them;
    another way makes other packages of the same names. `by_architecture`: the recipe as it is for one, where its
    conditions say so.
    """
    table = {
        "distribution": _asked(recipe),
        "kernel": {name: list(kernel.packages.get(name, ())) for name in recipe.architectures},
        "keys": dict(keys),
    }
    if kernel.hvm.packages:
        table["hvm"] = {name: list(kernel.packages_for("hvm", name)) for name in recipe.architectures}
    if recipe.base is not None:
        table["base"] = recipe.base.model_dump(mode="json")
    if repacked:
        table["repacked"] = repacked
    other = {name: _asked(each) for name, each in (by_architecture or {}).items() if _asked(each) != _asked(recipe)}
    if other:
        table["by_architecture"] = other
    return digest_of(table)


def _asked(recipe: Recipe) -> dict[str, Any]:
    """Of the distribution's table, what the resolver gets to see."""
    table: dict[str, Any] = recipe.distribution.model_dump(mode="json", exclude={"id"})
    table["repositories"] = [
        {name: value for name, value in each.items() if value or name not in _LATER} for each in table["repositories"]
    ]
    return table


def locked_package(table: Mapping[str, Any]) -> Locked:
    """A package of a lock, of whichever kind. TypeError for a field that is missing or unknown."""
    return LockedDeb(**table) if "sha256" in table else LockedPackage(**table)


def load_lock(path: Path) -> Lock | None:
    """The lock, None when there is none; RecipeError when it is damaged or of another version."""
    remedy = f"make it anew: ami-factory lock --update {path.with_suffix('.toml')}"
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, OSError, RecursionError) as error:
        raise RecipeError(f"{path}: not a lock: {error}", hint=remedy) from None
    try:
        if table["format"] != FORMAT:
            raise RecipeError(f"{path}: made by another version", hint=remedy)
        return Lock(
            recipe=table["recipe"],
            asks=table["asks"],
            architectures={
                name: ArchitectureLock(
                    sources=tuple(_package(SourcePackage, each) for each in entry["sources"]),
                    packages=tuple(map(_locked, entry["packages"])),
                    kernel_packages=tuple(map(_locked, entry["kernel_packages"])),
                    notes=tuple(map(str, entry["notes"])),
                    hvm_packages=tuple(map(_locked, entry.get("hvm_packages", ()))),
                    base=_base(entry["base"]) if entry.get("base") else None,
                    metadata=tuple((str(name), int(made)) for name, made in entry.get("metadata", ())),
                )
                for name, entry in table["architectures"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(f"{path}: damaged: {error}", hint=remedy) from None


def _base(table: Mapping[str, Any]) -> BaseLock:
    texts = {name: table[name] for name in ("kind", "format", "pin", "region", "location", "os", "release", "manager")}
    if not all(isinstance(each, str) for each in texts.values()) or type(table["source_epoch"]) is not int:
        raise ValueError("base: a field is of another type")
    return BaseLock(
        **texts,
        source_epoch=table["source_epoch"],
        installed=tuple(_package(Installed, each) for each in table["installed"]),
        packages=tuple(_package(GuestPackage, each) for each in table["packages"]),
        kernel_packages=tuple(_package(GuestPackage, each) for each in table["kernel_packages"]),
        hvm_packages=tuple(_package(GuestPackage, each) for each in table["hvm_packages"]),
    )


def _locked(table: Mapping[str, Any]) -> Locked:
    return _package(LockedDeb, table) if "sha256" in table else _package(LockedPackage, table)


def _package(kind: type[_Package], table: Mapping[str, Any]) -> _Package:
    """A package, every field of its own type; ValueError for one that is not."""
    made = kind(**table)
    for each in fields(made):
        value = getattr(made, each.name)
        if type(value) is not each.type or (isinstance(value, str) and not _WORD.fullmatch(value)):
            raise ValueError(f"{table.get('name')}: {each.name} is {value!r}")
    return made


def write_lock(path: Path, lock: Lock) -> None:
    """Write it whole or not at all. One line a package, so that a version control diff reads well."""
    table = {"format": FORMAT, **to_plain(lock)}
    text = json.dumps(table, indent=1, sort_keys=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RecipeError(f"{path} cannot be written: {error.strerror}", hint="make the directory writable") from None
