"""From a file to a Recipe: all that is wrong is said at once, with its place; never a traceback.

Which files a recipe is written in is in documents.py, how they become one in merge.py, and what may depend on the
variant in conditions.py. A recipe is checked without its conditions, for each of its variants, and for every condition
that none of these has.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from builder.catalog.kernels import Kernel, load_kernel
from builder.catalog.tables import Fault, faults, frozen
from builder.errors import RecipeError
from builder.formats.toml import Document, Position, format_key, nearest
from builder.recipe.check import check
from builder.recipe.conditions import BESIDES, COMMON, Facts, condition_faults, conditions, holding
from builder.recipe.documents import Documents, read_documents
from builder.recipe.layers import Layer
from builder.recipe.merge import distribution_words, merged
from builder.recipe.model import Recipe

# More does not help an author, and looking for the nearest of a thousand names takes its time, once for each.
MAX_FINDINGS = 100
MAX_CONDITIONS = 64  # for each of them the recipe is merged and checked once more
KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Said = tuple[Position, str]


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
    read: Documents
    kernels: Path
    layer: Layer
    """The recipe's table, which knows where each value is from."""
    known: dict[tuple[tuple[int, int], ...], "Loaded"] = field(default_factory=dict, repr=False, compare=False)
    """By the conditions that hold, what was asked for before."""

    @property
    def directory(self) -> Path:
        """Where this recipe's own files and templates are: recipes/NAME/ for recipes/NAME.toml."""
        return self.directories[0]

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where a `source` is looked for: this recipe's own directory, those it extends, those of parts."""
        return _directories((*self.files, *self.parts))

    def variant(self, *, architecture: str, virtualization: str, instance_type: str) -> "Loaded":
        """The recipe as it is for one variant, itself where no condition holds; RecipeError when that is wrong."""
        facts = _facts(self.layer, architecture, virtualization, instance_type)
        held = holding(self.read.all, facts)
        if held not in self.known:
            whole = merged(self.read, facts)
            recipe, said = _judged(self.read, whole.layer, self.kernels)
            if recipe is None or said or whole.refused:
                raise _error(self.read, [*whole.refused, *said])
            self.known[held] = replace(self, recipe=recipe, layer=whole.layer)
        return self.known[held]


def load_recipe(path: Path, *, kernels: Path | None = None) -> Loaded:
    """Read, merge and check a recipe. RecipeError holds every finding as `FILE:LINE:COLUMN: key: message`."""
    kernels = kernels or kernel_directory(path)
    read = read_documents(path)
    common = merged(read, Facts(values={}))
    recipe, found = _judged(read, common.layer, kernels)
    said = [*read.refused, *common.refused, *found, *_besides(read, common.layer)]
    if any(True for document in read.all for _ in conditions(document)):
        for facts in itertools.islice(_cases(read, common.layer, recipe), MAX_CONDITIONS):
            whole = merged(read, facts)
            said += [*whole.refused, *_judged(read, whole.layer, kernels)[1]]
    if said or recipe is None:
        raise _error(read, said)
    loaded = Loaded(
        recipe=recipe,
        kernel=load_kernel(kernels, recipe.kernel),
        path=path,
        files=read.files,
        parts=read.part_files,
        read=read,
        kernels=kernels,
        layer=common.layer,
    )
    loaded.known[()] = loaded
    return loaded


def kernel_directory(path: Path) -> Path:
    """kernels/ beside the recipe's directory or in it, else the one that comes with the factory."""
    for near in (path.parent / "kernels", path.absolute().parent.parent / "kernels"):
        if near.is_dir():
            return near
    return KERNELS


def _directories(files: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(each.with_suffix("") for each in files)


def _facts(layer: Layer, architecture: str, virtualization: str, instance_type: str) -> Facts:
    return Facts(
        values={
            "architecture": (architecture,),
            "distribution": distribution_words(layer.table),
            "virtualization": (virtualization,),
            "instance_type": (instance_type,),
        }
    )


def _cases(read: Documents, common: Layer, recipe: Recipe | None) -> Iterator[Facts]:
    """For what to look at a recipe: each set of conditions that one of its variants has, and each other condition by
    itself, so that a mistake in it is found before somebody asks for that variant."""
    documents = read.all
    seen: set[tuple[tuple[int, int], ...]] = {()}
    if recipe is not None:
        for asked in itertools.product(recipe.architectures, recipe.virtualization, recipe.instance_types):
            facts = _facts(common, *asked)
            held = holding(documents, facts)
            if held not in seen:
                seen.add(held)
                yield facts
    for number, document in enumerate(documents):
        for index, _ in conditions(document):
            if not any((number, index) in held for held in seen):
                yield Facts(values={}, forced=(id(document), index))


def _judged(read: Documents, layer: Layer, kernels: Path) -> tuple[Recipe | None, list[Said]]:
    """A merged table as a recipe, and all that is wrong with it."""
    found = []
    if len(read.chain) > 1 and "name" not in read.chain[0].table:
        found.append(Fault(key=(), message="a recipe that extends another needs a name of its own", missing=True))
    recipe = None
    try:
        recipe = Recipe.model_validate(frozen(layer.table))
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
    checked = check(layer.table, _directories(read.files), kernels, parts=_directories(read.part_files))
    found += itertools.islice(checked, MAX_FINDINGS)
    return recipe, [(layer.position(fault.key), _message(fault)) for fault in found]


def _besides(read: Documents, common: Layer) -> Iterator[Said]:
    """What is wrong with `add`, `remove` and `when`, in each file, apart from what they put into the recipe."""
    count = 0
    for document in read.all:
        for fault in itertools.islice(_faults_besides(document, common), MAX_FINDINGS):
            yield nearest(document.positions, fault.key) or Position(str(document.path), 1, 1), _message(fault)
        count += sum(1 for _ in conditions(document))
        if count > MAX_CONDITIONS:
            place = nearest(document.positions, ("when",)) or Position(str(document.path), 1, 1)
            yield place, f"when: more than {MAX_CONDITIONS} conditions: make several recipes of this one"
            return


def _faults_besides(document: Document, common: Layer) -> Iterator[Fault]:
    table = {name: document.table[name] for name in BESIDES if name in document.table}
    if not table:
        return
    from builder.recipe.written import Besides  # only recipes that have these keys pay for it

    try:
        Besides.model_validate(frozen(table))
    except ValidationError as error:
        # What a condition puts into the recipe is judged there: two keys may stand in different tables.
        yield from (each for each in faults(Besides, error) if _stands_alone(each))
    yield from condition_faults(document, distribution_words(common.table))


def _stands_alone(fault: Fault) -> bool:
    """Whether a finding is about a condition itself, or a key that no condition can have."""
    if fault.key[:1] != ("when",) or len(fault.key) < 3:
        return True
    if fault.key[2] in COMMON:
        return False  # said in words of its own
    return fault.key[2] in ("if", "remove", "distribution") or (len(fault.key) == 3 and "unknown key" in fault.message)


def _message(fault: Fault) -> str:
    return f"{format_key(fault.key)}: {fault.message}" if fault.key else fault.message


def _error(read: Documents, said: Iterable[Said]) -> RecipeError:
    """All findings, in the order of the file, each one once; those in other files after them."""
    found: dict[str, tuple[bool, Position, str]] = {}
    for place, message in said:
        line = f"{place}: {message}"
        # An element stands at another index for another variant.
        found.setdefault(re.sub(r"\[[0-9]+\]", "[]", line), (place.file != str(read.chain[0].path), place, line))
    ordered = [line for _, _, line in sorted(found.values(), key=lambda each: each[:2])][:MAX_FINDINGS]
    return RecipeError(
        ordered[0],
        detail="\n".join(ordered[1:]),
        hint="recipes/README.md describes every key" if len(ordered) > 1 else "",
    )
