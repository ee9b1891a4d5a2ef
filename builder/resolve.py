"""Makes a lock: asks the host's archive and dnf what a recipe's packages are today."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.catalog.kernels import Kernel
from builder.catalog.mirrors import mirror_variable
from builder.errors import BuilderError, RecipeError
from builder.lock import ArchitectureLock, Lock, asks
from builder.plan.repositories import package_sources, repository_steps
from builder.plan.step import Step
from builder.recipe.model import Recipe
from builder.stages.packages.spec import ResolveSpec
from builder.stages.values import LockedPackage, SourcePackage


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
    recipe: Recipe,
    kernel: Kernel,
    key_files: Mapping[str, Path],
    keys: Mapping[str, str],
    resolver: Resolver,
    repacked: str = "",
    by_architecture: Mapping[str, Recipe] | None = None,
    *,
    before: Lock | None = None,
) -> Lock:
    """Resolve every architecture of the recipe anew. `keys` and what follows `resolver`: see lock.asks.

    `before`: the lock that there is, of the same questions. RecipeError for a repository that has gone back in time.
    """
    own = by_architecture or {}
    architectures: dict[str, ArchitectureLock] = {}
    for architecture in recipe.architectures:
        kernel_names = kernel.packages.get(architecture)
        if kernel_names is None:
            raise RecipeError(
                f"kernel {kernel.name} has no packages for {architecture}",
                hint=f"add packages.{architecture} to kernels/{kernel.name}.toml, or leave {architecture} out",
            )
        hvm_names = kernel.packages_for("hvm", architecture)
        architectures[architecture] = _resolve_one(
            own.get(architecture, recipe), architecture, kernel_names, hvm_names, key_files, keys, resolver
        )
        if before is not None and architecture in before.architectures:
            _refuse_older(architectures[architecture], before.architectures[architecture])
    asked = asks(recipe, kernel, keys, repacked, own)
    return Lock(recipe=recipe.name, asks=asked, architectures=architectures)


def _refuse_older(found: ArchitectureLock, known: ArchitectureLock) -> None:
    """A mirror that is behind, or that plays old metadata again to keep a fix away."""
    latest = dict(known.metadata)
    for name, made in found.metadata:
        if made < latest.get(name, 0):
            raise RecipeError(
                f"repository {name}: its metadata is of {_day(made)}, older than what the lock was made of "
                f"({_day(latest[name])}): the mirror is behind, or somebody plays old metadata again",
                hint=f"use another mirror ({mirror_variable(name)}); if the repository really went back, delete the "
                "lock and make it anew",
            )


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _resolve_one(
    recipe: Recipe,
    architecture: str,
    kernel_names: tuple[str, ...],
    hvm_names: tuple[str, ...],
    key_files: Mapping[str, Path],
    keys: Mapping[str, str],
    resolver: Resolver,
) -> ArchitectureLock:
    sources: tuple[SourcePackage, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[tuple[str, Step], ...] = ()
    if any(each.repack for each in recipe.distribution.repositories):
        sources, notes = resolver.sources(architecture, (*recipe.distribution.packages, *kernel_names, *hvm_names))
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
            hvm_packages=hvm_names,
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
            hvm_packages=tuple(LockedPackage(**each) for each in answer.get("hvm_packages", ())),
            metadata=tuple(sorted(answer.get("metadata", {}).items())),
        )
    except (KeyError, TypeError) as error:
        raise BuilderError(f"the package resolver's answer lacks {error}") from None
