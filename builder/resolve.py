"""Makes a lock: asks the host's archive and dnf what a recipe's packages are today."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.catalog.kernels import Kernel
from builder.catalog.mirrors import mirror_variable
from builder.errors import BuilderError, RecipeError
from builder.lock import ArchitectureLock, BaseLock, Lock, asks, locked_package
from builder.plan.repositories import deb_archives, package_sources, repository_steps
from builder.plan.step import Step
from builder.recipe.model import Base, Recipe
from builder.stages.guest.spec import GuestResolveSpec
from builder.stages.packages.spec import ResolveSpec
from builder.stages.values import UNPINNED, GuestPackage, Installed, SourcePackage


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResolver:
    """The effects that locking an existing image needs."""

    pin: Callable[[Base, str], Mapping[str, Any]]
    """(existing image, architecture) to what stages.base.spec.PinSpec promises."""
    made: Callable[[BaseLock, str], Mapping[str, Any]]
    """Makes sure that the image's root tree is in the store; what that step said of it."""
    guest: Callable[[BaseLock, str, GuestResolveSpec], Mapping[str, Any]]
    """Asks the image's own package manager."""


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
    image: ImageResolver | None = None
    """For a recipe that starts from an image."""


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
    if recipe.base is not None:
        assert resolver.image is not None
        architectures = {name: _base(recipe.base, name, kernel, resolver.image) for name in recipe.architectures}
        return Lock(recipe=recipe.name, asks=asks(recipe, kernel, keys, repacked, own), architectures=architectures)
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


def _base(base: Base, architecture: str, kernel: Kernel, resolver: ImageResolver) -> ArchitectureLock:
    """An existing image, and what its own package manager adds."""
    pinned = resolver.pin(base, architecture)
    bare = BaseLock(
        kind=pinned["kind"],
        format=pinned["format"],
        pin=pinned["pin"],
        region=pinned["region"],
        location=pinned["location"],
        os="",
        release="",
        manager="",
        source_epoch=0,
        installed=(),
        packages=(),
        kernel_packages=(),
        hvm_packages=(),
    )
    found = resolver.made(bare, architecture)
    if found["architecture"] != architecture:
        raise RecipeError(
            f"{base.image} is a system for {found['architecture'] or 'other processors'}, and the recipe's "
            f"architectures say {architecture}",
            hint=f'write architectures = ["{found["architecture"]}"]' if found["architecture"] else "",
        )
    known = replace(
        bare,
        os=found["os"],
        release=found["release"],
        manager=found["manager"],
        source_epoch=found["source_epoch"],
        installed=tuple(Installed(name=name, version=version) for name, version in found["installed"]),
    )
    wanted = GuestResolveSpec(
        manager=known.manager,
        packages=base.packages,
        kernel_packages=kernel.packages.get(architecture, ()),  # type: ignore[call-overload]
        hvm_packages=kernel.packages_for("hvm", architecture),
        source_epoch=known.source_epoch,
    )
    if wanted.packages or wanted.kernel_packages or wanted.hvm_packages:
        answer = resolver.guest(known, architecture, wanted)
        known = replace(
            known,
            packages=tuple(GuestPackage(**each) for each in answer["packages"]),
            kernel_packages=tuple(GuestPackage(**each) for each in answer["kernel_packages"]),
            hvm_packages=tuple(GuestPackage(**each) for each in answer["hvm_packages"]),
        )
    unpinned = known.packages or known.kernel_packages or known.hvm_packages
    notes = (UNPINNED.format(manager=known.manager),) if unpinned else ()
    return ArchitectureLock(sources=(), packages=(), kernel_packages=(), notes=notes, base=known)


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
            archives=deb_archives(recipe, keys),
        ),
        steps,
        {keys[name]: str(path) for name, path in key_files.items()},
    )
    try:
        return ArchitectureLock(
            sources=sources,
            packages=tuple(map(locked_package, answer["packages"])),
            kernel_packages=tuple(map(locked_package, answer["kernel_packages"])),
            notes=notes,
            hvm_packages=tuple(map(locked_package, answer.get("hvm_packages", ()))),
            metadata=tuple(sorted(answer.get("metadata", {}).items())),
        )
    except (KeyError, TypeError) as error:
        raise BuilderError(f"the package resolver's answer lacks {error}") from None
