"""From a file to a Recipe: all that is wrong is said at once, with its place; never a traceback.

A recipe may extend another. Tables are merged, and what the extending recipe says of a key replaces what the other
said, lists included. The lists of tables (users, files, scripts, distribution.repositories) are joined, the other's
first; a user, file or repository of the same name takes the place of the other's.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from builder.catalog.kernels import Kernel, load_kernel
from builder.catalog.tables import Fault, faults, frozen, shown
from builder.errors import BuilderError, RecipeError
from builder.formats.toml import Document, Key, Position, format_key, nearest, read
from builder.recipe.check import check
from builder.recipe.model import Recipe

MAX_CHAIN = 8
# More does not help an author, and looking for the nearest of a thousand names takes its time, once for each.
MAX_FINDINGS = 100
# Lists of tables that are joined, and the key that names an element in them.
JOINED: dict[Key, str] = {
    ("users",): "name",
    ("files",): "destination",
    ("scripts",): "",
    ("distribution", "repositories"): "id",
}
KERNELS = Path(__file__).resolve().parents[2] / "kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A recipe that is right, and the files it was read from."""

    recipe: Recipe
    kernel: Kernel
    path: Path
    files: tuple[Path, ...]
    """All recipe files that were read: this one, the one it extends, and so on."""

    @property
    def directory(self) -> Path:
        """Where this recipe's own files and templates are: recipes/NAME/ for recipes/NAME.toml."""
        return self.directories[0]

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where a `source` is looked for, in this order: this recipe's own directory, then those it extends."""
        return tuple(each.with_suffix("") for each in self.files)


def load_recipe(path: Path, *, kernels: Path | None = None) -> Loaded:
    """Read, merge and check a recipe. RecipeError holds every finding as `FILE:LINE:COLUMN: key: message`."""
    kernels = kernels or kernel_directory(path)
    chain, broken = _chain(path)
    table = _merged([each.table for each in chain])
    found = [broken] if broken else []
    if len(chain) > 1 and "name" not in chain[0].table:
        found.append(Fault(key=(), message="a recipe that extends another needs a name of its own", missing=True))
    recipe = None
    try:
        recipe = Recipe.model_validate(frozen(table))
    except ValidationError as error:
        # What is missing may stand in the recipe that could not be read, and why not is said already.
        told = (each for each in faults(Recipe, error) if not (broken and (each.missing or each.key == ("extends",))))
        found += itertools.islice(told, MAX_FINDINGS)
    except RecursionError:
        found.append(Fault(key=(), message="nested too deeply"))
    found += itertools.islice(check(table, [each.path.with_suffix("") for each in chain], kernels), MAX_FINDINGS)
    if found or recipe is None:
        raise _error(found, chain)
    return Loaded(
        recipe=recipe,
        kernel=load_kernel(kernels, recipe.kernel),
        path=path,
        files=tuple(each.path for each in chain),
    )


def kernel_directory(path: Path) -> Path:
    """kernels/ beside the recipe's directory or in it, else the one that comes with the factory."""
    for near in (path.parent / "kernels", path.absolute().parent.parent / "kernels"):
        if near.is_dir():
            return near
    return KERNELS


def _chain(path: Path) -> tuple[list[Document], Fault | None]:
    """The recipe and those that it extends, as far as they can be read, and why the next one cannot."""
    chain = [read(path)]
    while "extends" in chain[-1].table:
        document = chain[-1]
        fault = _refusal(chain)
        if fault is None:
            try:
                chain.append(read(document.path.parent / document.table["extends"]))
                continue
            except BuilderError as error:
                fault = error.brief
        place = nearest(document.positions, ("extends",))
        return chain, Fault(key=(f"{place}",), message=f"extends: {fault}")
    return chain, None


def _refusal(chain: list[Document]) -> str | None:
    """Why the last document's `extends` is not followed."""
    here, name = chain[-1].path, chain[-1].table["extends"]
    if not isinstance(name, str):
        return "this must be the name of a recipe file in quotes"
    if not name or "\0" in name or name.startswith(("/", "~")) or ".." in name.split("/"):
        return "this must be a recipe beside this one, without .. or a leading /"
    try:
        target = (here.parent / name).resolve()
        if not target.is_relative_to(here.parent.resolve()):
            return f"{shown(name)} is a link that leads out of {here.parent}"
        if not target.exists():
            return f"there is no {shown(name)} in {here.parent}"
        if target in [each.path.resolve() for each in chain]:
            return f"a loop: {shown(name)} is extended by itself"
    except (OSError, RuntimeError):
        return "this cannot be followed as a file name"
    return f"more than {MAX_CHAIN} recipes in a row" if len(chain) >= MAX_CHAIN else None


def _merged(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """One table of a chain's tables, the first having the last word."""
    table = tables[-1]
    for over in reversed(tables[:-1]):
        table = _merge(table, over, ())
    return table


def _merge(base: dict[str, Any], over: Mapping[str, Any], at: Key) -> dict[str, Any]:
    table = dict(base)
    for name, value in over.items():
        key = (*at, name)
        old = base.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            table[name] = _merge(old, value, key)
        elif key in JOINED and isinstance(value, list) and isinstance(old, list):
            table[name] = [(old, value)[side][index] for side, index in _joined(old, value, JOINED[key])]
        else:
            table[name] = value
    return table


def _joined(old: list[Any], new: list[Any], name: str) -> list[tuple[int, int]]:
    """Which element of which list (0 the old, 1 the new) stands at each place of the joined list."""
    order = [(0, index) for index in range(len(old))]
    names = [each.get(name) if isinstance(each, dict) and name else None for each in old]
    for index, each in enumerate(new):
        own = each.get(name) if isinstance(each, dict) and name else None
        if isinstance(own, str) and own in names:
            order[names.index(own)] = (1, index)
            names[names.index(own)] = None
        else:
            order.append((1, index))
    return order


def _error(found: list[Fault], chain: list[Document]) -> RecipeError:
    """All findings, in the order of the file, each one once."""
    positions = _merged_positions(chain)
    lines: dict[str, tuple[bool, Position]] = {}
    start = Position(str(chain[0].path), 1, 1)
    for fault in found:
        if fault.message.startswith("extends: "):
            # Its key is its place: the file may be any of the chain.
            lines.setdefault(f"{fault.key[0]}: {fault.message}", (False, start))
            continue
        place = nearest(positions, fault.key) or start
        where = f"{format_key(fault.key)}: " if fault.key else ""
        lines.setdefault(f"{place}: {where}{fault.message}", (place.file != start.file, place))
    ordered = sorted(lines, key=lambda line: lines[line])[:MAX_FINDINGS]
    return RecipeError(
        ordered[0],
        detail="\n".join(ordered[1:]),
        hint="recipes/README.md describes every key" if len(ordered) > 1 else "",
    )


def _merged_positions(chain: list[Document]) -> dict[Key, Position]:
    """Where each value of the merged table was written, found by the rules that merged them."""
    table, positions = chain[-1].table, dict(chain[-1].positions)
    for document in reversed(chain[:-1]):
        positions = _merge_positions(table, positions, document)
        table = _merge(table, document.table, ())
    return positions


def _merge_positions(base: dict[str, Any], positions: dict[Key, Position], document: Document) -> dict[Key, Position]:
    over = document.table
    moved: dict[tuple[int, Key], Key] = {}  # (side, key of an element) to its key in the joined list
    for array, name in JOINED.items():
        old, new = _at(base, array), _at(over, array)
        if isinstance(old, list) and isinstance(new, list):
            for place, (side, index) in enumerate(_joined(old, new, name)):
                moved[side, (*array, index)] = (*array, place)
    joined = {key[:-1] for _, key in moved}
    merged: dict[Key, Position] = {}
    for side, each in ((0, positions), (1, document.positions)):
        for key, position in each.items():
            around = next((array for array in joined if key[: len(array)] == array and len(key) > len(array)), None)
            if around is None:
                merged[key] = position
            elif (side, key[: len(around) + 1]) in moved:
                merged[(*moved[side, key[: len(around) + 1]], *key[len(around) + 1 :])] = position
    return merged


def _at(table: Any, key: Key) -> Any:
    for part in key:
        table = table.get(part) if isinstance(table, dict) else None
    return table
