"""The lock: every package a recipe needs, pinned, for each architecture. Kept beside the recipe as NAME.lock."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.canonical import digest_of, to_plain
from builder.catalog.kernels import Kernel
from builder.errors import BuilderError, RecipeError
from builder.plan.step import Step, step
from builder.recipe.model import Recipe, Repository
from builder.stages.packages.spec import ResolveSpec
from builder.stages.repository.spec import RepositorySpec
from builder.stages.values import LockedPackage, PackageSource, SourcePackage

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureLock:
    sources: tuple[SourcePackage, ...]
    """.deb files that the repository is made from; empty where the repositories have addresses."""
    packages: tuple[LockedPackage, ...]
    kernel_packages: tuple[LockedPackage, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    recipe: str
    asks: str
    """Digest of all that the recipe and the kernel ask of the package resolver; another one makes the lock stale."""
    architectures: Mapping[str, ArchitectureLock]

    @property
    def source_epoch(self) -> int:
        """Newest build time of any locked package: the one clock of the build."""
        return max(
            (
                each.build_time
                for lock in self.architectures.values()
                for each in (*lock.packages, *lock.kernel_packages)
            ),
            default=0,
        )


def lock_path(recipe: Path) -> Path:
    return recipe.with_suffix(".lock")


def asks(recipe: Recipe, kernel: Kernel, keys: Mapping[str, str]) -> str:
    """Digest of what decides the resolution. `keys`: GPG key file to its SHA-256."""
    return digest_of(
        {
            "distribution": recipe.distribution.model_dump(mode="json"),
            "kernel": {name: list(kernel.packages.get(name, ())) for name in recipe.architectures},
            "keys": dict(keys),
        }
    )


def load_lock(path: Path) -> Lock | None:
    """The lock, None when there is none; RecipeError when it is damaged or of another version."""
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise RecipeError(
            f"{path}: not a lock: {error}", hint="make it anew: ami-factory lock RECIPE --update"
        ) from None
    try:
        if table["format"] != FORMAT:
            raise RecipeError(f"{path}: made by another version", hint="run: ami-factory lock RECIPE --update")
        return Lock(
            recipe=table["recipe"],
            asks=table["asks"],
            architectures={
                name: ArchitectureLock(
                    sources=tuple(SourcePackage(**each) for each in entry["sources"]),
                    packages=tuple(LockedPackage(**each) for each in entry["packages"]),
                    kernel_packages=tuple(LockedPackage(**each) for each in entry["kernel_packages"]),
                    notes=tuple(entry["notes"]),
                )
                for name, entry in table["architectures"].items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{path}: damaged: {error}", hint="make it anew: ami-factory lock RECIPE --update") from None


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


def package_sources(recipe: Recipe, keys: Mapping[str, str]) -> tuple[PackageSource, ...]:
    return tuple(_package_source(each, keys) for each in recipe.distribution.repositories)


def _package_source(repository: Repository, keys: Mapping[str, str]) -> PackageSource:
    if repository.repack:
        # What we make here is signed as a whole: repomd.xml holds the digests of all packages.
        return PackageSource(id=repository.id, input=f"repository.{repository.id}", gpgcheck=False, repo_gpgcheck=True)
    return PackageSource(
        id=repository.id,
        baseurl=repository.baseurl,
        metalink=repository.metalink,
        mirrorlist=repository.mirrorlist,
        gpgcheck=repository.gpgcheck,
        repo_gpgcheck=repository.repo_gpgcheck,
        keys=tuple(keys[name] for name in repository.keys),
    )


def repository_steps(
    recipe: Recipe, architecture: str, sources: tuple[SourcePackage, ...], *, signing_key: str, definition: str
) -> tuple[tuple[str, Step], ...]:
    """(input name, step) of each repository that is made here."""
    return tuple(
        (
            f"repository.{each.id}",
            step(
                "repository",
                RepositorySpec(
                    architecture=architecture, sources=sources, signing_key=signing_key, definition=definition
                ),
                label=f"repository.{each.id}",
            ),
        )
        for each in recipe.distribution.repositories
        if each.repack
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """The effects that locking needs, given by whoever can run steps."""

    sources: Callable[[str, tuple[str, ...]], tuple[tuple[SourcePackage, ...], tuple[str, ...]]]
    """(architecture, roots) to pinned .deb files, and notes."""
    make: Callable[[Iterable[Step]], None]
    """Makes sure that these steps' objects are in the store."""
    resolve: Callable[[ResolveSpec, tuple[tuple[str, Step], ...], Mapping[str, str]], Mapping[str, Any]]
    """Asks dnf: spec, (input name, step), key files by digest."""
    signing_key: Callable[[], str]
    definition: Callable[[], str]


def resolve(
    recipe: Recipe, kernel: Kernel, key_files: Mapping[str, Path], keys: Mapping[str, str], resolver: Resolver
) -> Lock:
    """Resolve every architecture of the recipe anew."""
    architectures = {}
    for architecture in recipe.architectures:
        kernel_names = kernel.packages.get(architecture)
        if kernel_names is None:
            raise RecipeError(
                f"kernel {kernel.name} has no packages for {architecture}",
                hint=f"add packages.{architecture} to kernels/{kernel.name}.toml, or leave {architecture} out",
            )
        architectures[architecture] = _resolve_one(recipe, architecture, kernel_names, key_files, keys, resolver)
    return Lock(recipe=recipe.name, asks=asks(recipe, kernel, keys), architectures=architectures)


def _resolve_one(
    recipe: Recipe,
    architecture: str,
    kernel_names: tuple[str, ...],
    key_files: Mapping[str, Path],
    keys: Mapping[str, str],
    resolver: Resolver,
) -> ArchitectureLock:
    sources: tuple[SourcePackage, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[tuple[str, Step], ...] = ()
    if any(each.repack for each in recipe.distribution.repositories):
        sources, notes = resolver.sources(architecture, (*recipe.distribution.packages, *kernel_names))
        steps = repository_steps(
            recipe, architecture, sources, signing_key=resolver.signing_key(), definition=resolver.definition()
        )
        resolver.make(each for _, each in steps)
    answer = resolver.resolve(
        ResolveSpec(
            architecture=architecture,
            release=recipe.distribution.release,
            repositories=package_sources(recipe, keys),
            packages=recipe.distribution.packages,
            kernel_packages=kernel_names,
            excludes=recipe.distribution.excludes,
        ),
        steps,
        {keys[name]: str(path) for name, path in key_files.items()},
    )
    try:
        return ArchitectureLock(
            sources=sources,
            packages=tuple(LockedPackage(**each) for each in answer["packages"]),
            kernel_packages=tuple(LockedPackage(**each) for each in answer["kernel_packages"]),
            notes=notes,
        )
    except (KeyError, TypeError) as error:
        raise BuilderError(f"the package resolver's answer lacks {error}") from None
