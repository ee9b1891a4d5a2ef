"""Where packages come from: the recipe's repositories as specs name them, and the steps that make some of them."""

from collections.abc import Mapping

from builder.plan.step import Step, step
from builder.recipe.model import Recipe, Repository
from builder.stages.repository.spec import RepositorySpec
from builder.stages.values import DebArchive, PackageSource, SourcePackage


def package_sources(recipe: Recipe, keys: Mapping[str, str]) -> tuple[PackageSource, ...]:
    """What dnf takes packages from; none for another installer."""
    if recipe.distribution.installer != "dnf":
        return ()
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


def deb_archives(recipe: Recipe, keys: Mapping[str, str]) -> tuple[DebArchive, ...]:
    """What apt takes packages from; none for another installer."""
    if recipe.distribution.installer != "mmdebstrap":
        return ()
    release = recipe.distribution.release
    return tuple(
        DebArchive(
            id=each.id,
            suites=tuple(suite.replace("$releasever", release) for suite in each.suites),
            components=each.components or ("main",),
            archive=each.archive,
            baseurl=each.baseurl,
            keyring=each.keyring,
            keys=tuple(keys[name] for name in each.keys),
        )
        for each in recipe.distribution.repositories
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
