"""A recipe with all that compiling needs: kernel, the files that it names, lock, and what its conditions change.

Reads; writes and asks nothing.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import RecipeError
from builder.lock import Lock, asks, load_lock, lock_path
from builder.plan.request import Sources
from builder.plan.step import Variant
from builder.recipe.files import collect, find_source, overlay_links, script_text, uefi_variables, unit_text
from builder.recipe.load import Loaded, load_recipe
from builder.recipe.model import Boot, Recipe
from builder.stages.customise.spec import Script
from builder.stages.repository.definition import definition_digest
from builder.stages.repository.spec import RepositorySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A recipe with all that compiling needs."""

    loaded: Loaded
    sources: Sources
    key_files: Mapping[str, Path]
    lock: Lock | None
    """None when there is none, or when it no longer fits the recipe."""
    stale: bool = False
    by_architecture: Mapping[str, Recipe] = field(default_factory=dict)
    """The recipe as it is for one architecture, where its conditions change what is installed."""

    @property
    def lock_path(self) -> Path:
        return lock_path(self.loaded.path)


def prepare(path: Path, *, anew: bool = False) -> Prepared:
    """Load a recipe with its kernel, files and lock; RecipeError with every mistake at once.

    `anew`: the lock is about to be made again, so one that cannot be read is as good as none.
    """
    loaded = load_recipe(path)
    recipe = loaded.recipe
    key_files = {
        name: find_source(loaded, name, "distribution.repositories.keys")
        for each in recipe.distribution.repositories
        for name in each.keys
    }
    keys = {name: _digest(file, name) for name, file in key_files.items()}
    sources = _sources(loaded, recipe.architectures, keys, key_files)
    for each in _conditional(loaded):  # what is wrong with a variant's files is said now
        _sources(each, recipe.architectures, keys, key_files)
    by_architecture = _by_architecture(loaded)
    try:
        lock = load_lock(lock_path(loaded.path))
    except RecipeError:
        if not anew:
            raise
        lock = None
    stale = lock is not None and (
        lock.asks != asks(recipe, loaded.kernel, keys, repacked(recipe), by_architecture)
        or not lock.architectures.keys() >= set(recipe.architectures)
    )
    return Prepared(
        loaded=loaded,
        sources=sources,
        key_files=key_files,
        lock=None if stale else lock,
        stale=stale,
        by_architecture=by_architecture,
    )


def kernels_directory() -> Path:
    """The factory's own kernels/."""
    return Path(__file__).resolve().parent.parent / "kernels"


def repacked(recipe: Recipe) -> str:
    """What decides how .deb files become RPMs; "" for a recipe that repacks none."""
    if not any(each.repack for each in recipe.distribution.repositories):
        return ""
    return f"{RepositorySpec.VERSION}:{definition_digest()}"


def conditional(
    prepared: Prepared, wanted: tuple[Variant, ...], *, boot: str = ""
) -> dict[str, tuple[Recipe, Sources]]:
    """By a variant's name, the recipe and the files of those that conditions change. `boot`: see Selection."""
    found: dict[str, tuple[Recipe, Sources]] = {}
    keys, files = prepared.sources.keys, prepared.key_files
    for each in wanted:
        its = prepared.loaded.variant(
            architecture=each.architecture, virtualization=each.virtualization, instance_type=each.instance_type
        )
        if its is not prepared.loaded:
            found[each.name] = (with_boot(its.recipe, boot), _sources(its, (each.architecture,), keys, files))
    return found


def with_boot(recipe: Recipe, level: str) -> Recipe:
    return recipe.model_copy(update={"boot": Boot.model_validate({"level": level})}) if level else recipe


def _conditional(loaded: Loaded) -> Iterator[Loaded]:
    """The recipe as it is for each set of conditions that one of its variants has, and that changes it."""
    recipe = loaded.recipe
    asked = itertools.product(recipe.architectures, recipe.virtualization, recipe.instance_types)
    all_of_them = {
        id(each): each
        for architecture, virtual, kind in asked
        for each in [loaded.variant(architecture=architecture, virtualization=virtual, instance_type=kind)]
    }
    yield from (each for each in all_of_them.values() if each is not loaded)


def _by_architecture(loaded: Loaded) -> dict[str, Recipe]:
    """Packages depend on the architecture alone (recipe/conditions.py), so any of its variants will do."""
    recipe = loaded.recipe
    virtual, kind = recipe.virtualization[0], recipe.instance_types[0]
    own = {
        name: loaded.variant(architecture=name, virtualization=virtual, instance_type=kind).recipe
        for name in recipe.architectures
    }
    return {name: each for name, each in own.items() if each.distribution != recipe.distribution}


def _sources(
    loaded: Loaded, architectures: tuple[str, ...], keys: Mapping[str, str], key_files: Mapping[str, Path]
) -> Sources:
    """What the recipe's tables name, read; RecipeError for what is not there."""
    recipe = loaded.recipe
    collected = {name: collect(loaded, _file_variables(recipe, name)) for name in architectures}
    paths = {digest: path for each in collected.values() for digest, path in each.sources.items()}
    return Sources(
        files={name: each.files for name, each in collected.items()},
        scripts=tuple(_script(loaded, number) for number in range(len(recipe.scripts))),
        units=tuple((each.name, unit_text(loaded, number)) for number, each in enumerate(recipe.units)),
        links=overlay_links(loaded),
        uefi_data=uefi_variables(loaded),
        paths={**paths, **{keys[name]: str(file) for name, file in key_files.items()}},
        keys=keys,
        base=_base(loaded),
    )


def _base(loaded: Loaded) -> str:
    """Where the recipe's image is; whether it is there is asked when it is needed. Its layer may be in the store."""
    if loaded.recipe.base is None:
        return ""
    image = loaded.recipe.base.image
    if image.startswith(("s3://", "ami-")):
        return image
    if image.startswith(("/", "~")):
        return str(Path(image).expanduser())
    return str(find_source(loaded, image, f"{loaded.path}: base.image").absolute())


def _file_variables(recipe: Recipe, architecture: str) -> dict[str, str]:
    """What a file's template can ask for: nothing that differs between instance types, which share the layer."""
    return {
        "name": recipe.name,
        "version": recipe.version,
        "description": recipe.description,
        "architecture": architecture,
        "release": recipe.distribution.release,
        "timezone": recipe.timezone,
        "locale": recipe.locale,
    }


def _script(loaded: Loaded, number: int) -> tuple[str, Script]:
    given = loaded.recipe.scripts[number]
    return given.after, Script(
        name=given.name or given.source or f"scripts[{number}]",
        text=script_text(loaded, number),
        network=given.network,
        environment=tuple(sorted(given.environment.items())),
    )


def _digest(path: Path, name: str) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecipeError(
            f"distribution.repositories.keys: {name}: {error.strerror}", hint=f"put the file at {path}"
        ) from None
