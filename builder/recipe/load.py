"""From a file to a Recipe: all that is wrong is said at once, with its place; never a traceback.

A recipe may extend another, and take in parts. Tables are merged, and what the extending recipe says of a key replaces
what the other said, lists included. The lists of tables (users, files, scripts, distribution.repositories) are joined,
the other's first; a user, file or repository of the same name takes the place of the other's. A part adds to all
lists, and sets only what its recipe and the other parts leave unset.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from builder.catalog.kernels import Kernel, load_kernel
from builder.catalog.tables import Fault, faults, frozen
from builder.errors import RecipeError
from builder.formats.toml import Position, format_key
from builder.recipe.check import check
from builder.recipe.documents import Documents, read_documents
from builder.recipe.layers import Clash, Layer, laid_over, layer, with_part
from builder.recipe.model import Recipe

# More does not help an author, and looking for the nearest of a thousand names takes its time, once for each.
MAX_FINDINGS = 100
KERNELS = Path(__file__).resolve().parents[2] / "kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A recipe that is right, and the files it was read from."""

    recipe: Recipe
    kernel: Kernel
    path: Path
    files: tuple[Path, ...]
    """All recipe files that were read: this one, the one it extends, and so on."""
    parts: tuple[Path, ...] = ()
    """The parts that they take in, this recipe's first."""

    @property
    def directory(self) -> Path:
        """Where this recipe's own files and templates are: recipes/NAME/ for recipes/NAME.toml."""
        return self.directories[0]

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where a `source` is looked for: this recipe's own directory, those it extends, those of parts."""
        return tuple(each.with_suffix("") for each in (*self.files, *self.parts))


def load_recipe(path: Path, *, kernels: Path | None = None) -> Loaded:
    """Read, merge and check a recipe. RecipeError holds every finding as `FILE:LINE:COLUMN: key: message`."""
    kernels = kernels or kernel_directory(path)
    read = read_documents(path)
    merged, clashes = _merged(read)
    files = tuple(each.path for each in read.chain)
    parts = tuple(dict.fromkeys(each.path for parts in read.parts for each in parts))
    found = []
    if len(files) > 1 and "name" not in read.chain[0].table:
        found.append(Fault(key=(), message="a recipe that extends another needs a name of its own", missing=True))
    recipe = None
    try:
        recipe = Recipe.model_validate(frozen(merged.table))
    except ValidationError as error:
        # What is missing may stand in a file that could not be read, and why not is said already.
        told = (
            each
            for each in faults(Recipe, error)
            if not (read.refused and (each.missing or each.key[:1] in (("extends",), ("include",))))
        )
        found += itertools.islice(told, MAX_FINDINGS)
    except RecursionError:
        found.append(Fault(key=(), message="nested too deeply"))
    own = [each.with_suffix("") for each in files]
    found += itertools.islice(
        check(merged.table, own, kernels, parts=[each.with_suffix("") for each in parts]), MAX_FINDINGS
    )
    if found or clashes or read.refused or recipe is None:
        raise _error(read, merged, found, clashes)
    return Loaded(recipe=recipe, kernel=load_kernel(kernels, recipe.kernel), path=path, files=files, parts=parts)


def kernel_directory(path: Path) -> Path:
    """kernels/ beside the recipe's directory or in it, else the one that comes with the factory."""
    for near in (path.parent / "kernels", path.absolute().parent.parent / "kernels"):
        if near.is_dir():
            return near
    return KERNELS


def _merged(read: Documents) -> tuple[Layer, list[Clash]]:
    """All files as one: from the last recipe of the chain up, each with its parts before the next lies over it."""
    merged = None
    clashes: list[Clash] = []
    for document, parts in reversed([*zip(read.chain, read.parts, strict=True)]):
        over = layer(document)
        merged = over if merged is None else laid_over(merged, over)
        own = [document]
        for part in parts:
            merged, more = with_part(merged, layer(part, "name", "extends", "include"), own)
            clashes += more
            own.append(part)
    assert merged is not None  # A chain holds the recipe itself.
    return merged, clashes


def _error(read: Documents, merged: Layer, found: list[Fault], clashes: list[Clash]) -> RecipeError:
    """All findings, in the order of the file, each one once; those in other files after them."""
    said = [*read.refused, *((clash.place, clash.message) for clash in clashes)]
    for fault in found:
        where = f"{format_key(fault.key)}: " if fault.key else ""
        said.append((merged.position(fault.key), f"{where}{fault.message}"))
    lines: dict[str, tuple[bool, Position]] = {}
    for place, message in said:
        lines.setdefault(f"{place}: {message}", (place.file != str(read.chain[0].path), place))
    ordered = sorted(lines, key=lambda line: lines[line])[:MAX_FINDINGS]
    return RecipeError(
        ordered[0],
        detail="\n".join(ordered[1:]),
        hint="recipes/README.md describes every key" if len(ordered) > 1 else "",
    )
