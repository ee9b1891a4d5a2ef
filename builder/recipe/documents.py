"""The files that a recipe is written in: its own, those that it extends, and the parts that they take in.

Each is named by a path below the directory of the file that names it; no name leads out of there. What is not there is
looked for among the factory's own recipes, so that a recipe anywhere can start from one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.catalog.tables import shown
from builder.errors import BuilderError, RecipeError
from builder.formats.toml import Document, Key, Position, nearest, printable, read

MAX_CHAIN = 8
MAX_PARTS = 64
# Parts that come with the factory are found from a recipe that stands anywhere.
SHIPPED = Path(__file__).resolve().parents[2] / "recipes"
# What makes a recipe of a file, or changes one that it extends; a part has none of it.
NOT_IN_A_PART = ("name", "extends", "add", "remove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What was read, as far as it could be, and why the rest could not."""

    chain: tuple[Document, ...]
    """The recipe, the one that it extends, and so on."""
    parts: tuple[tuple[Document, ...], ...]
    """For each of the chain the parts that it takes in, each one once, a part's own parts before it."""
    refused: tuple[tuple[Position, str], ...]

    @property
    def all(self) -> tuple[Document, ...]:
        return (*self.chain, *(part for parts in self.parts for part in parts))

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(each.path for each in self.chain)

    @property
    def part_files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(each.path for parts in self.parts for each in parts))


def read_documents(path: Path) -> Documents:
    """Read a recipe and all that it names. RecipeError only when the recipe itself is no TOML."""
    chain, refused = _chain(path)
    parts = []
    for document in chain:
        gathered = _Parts()
        gathered.take(document)
        parts.append(tuple(gathered.taken))
        refused += gathered.refused
    return Documents(chain=tuple(chain), parts=tuple(parts), refused=tuple(refused))


def _chain(path: Path) -> tuple[list[Document], list[tuple[Position, str]]]:
    chain = [read(path)]
    while "extends" in chain[-1].table:
        document = chain[-1]
        try:
            target = _followed(document.table["extends"], [document.path.parent, SHIPPED], "recipe")
            if target.resolve() in [each.path.resolve() for each in chain]:
                raise _Refused(f"a loop: {_loop(chain, target)}")
            if len(chain) >= MAX_CHAIN:
                raise _Refused(f"more than {MAX_CHAIN} recipes in a row")
            chain.append(read(target))
        except (_Refused, BuilderError) as error:
            return chain, [_told(document, ("extends",), error)]
    return chain, []


def _loop(chain: Sequence[Document], target: Path) -> str:
    """The way from a recipe back to itself."""
    names = [each.path.name for each in chain]
    start = next(at for at, each in enumerate(chain) if each.path.resolve() == target.resolve())
    return " extends ".join(printable(name) for name in (*names[start:], target.name))


@dataclass(slots=True)
class _Parts:
    """The parts of one recipe file. A part that is named again, also by itself, is there already."""

    taken: list[Document] = field(default_factory=list)
    refused: list[tuple[Position, str]] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def take(self, document: Document) -> None:
        names = document.table.get("include", [])
        if not isinstance(names, list):
            fault = _Refused(f"this must be a list in brackets, and {shown(names)} is not")
            self.refused.append(_told(document, ("include",), fault))
            return
        for index, name in enumerate(names):
            try:
                target = _followed(name, [document.path.parent, SHIPPED], "part")
                if target.resolve() not in self.seen:
                    self._one(target)
            except (_Refused, BuilderError) as error:
                self.refused.append(_told(document, ("include", index), error))

    def _one(self, target: Path) -> None:
        if len(self.seen) >= MAX_PARTS:
            raise _Refused(f"more than {MAX_PARTS} parts")
        self.seen.add(target.resolve())
        part = read(target)
        for key in NOT_IN_A_PART:
            if key in part.table:
                fault = _Refused("a part has none: it is taken into a recipe")
                self.refused.append(_told(part, (key,), fault))
        self.take(part)
        self.taken.append(part)


def require(path: Path, extends: str, parts: Sequence[str]) -> None:
    """RecipeError unless a recipe at `path` would find these files."""
    for name, what in ((extends, "recipe"), *((each, "part") for each in parts)):
        try:
            if name or what == "part":
                _followed(name, [path.parent, SHIPPED], what)
        except _Refused as error:
            raise RecipeError(f"{printable(name)}: {error}") from None


class _Refused(Exception):
    """Why a file that a recipe names is not read."""


def _told(document: Document, key: Key, why: Exception) -> tuple[Position, str]:
    place = nearest(document.positions, key) or Position(str(document.path), 1, 1)
    return place, f"{key[0]}: {why.brief if isinstance(why, BuilderError) else why}"


def _followed(name: Any, directories: Sequence[Path], what: str) -> Path:
    """The file that a name means, in the first of the directories that has it; _Refused for what leads elsewhere."""
    if not isinstance(name, str):
        raise _Refused(f"this must be the name of a {what} file in quotes")
    if not name or "\0" in name or name.startswith(("/", "~")) or ".." in name.split("/"):
        raise _Refused(f"this must be a {what} beside this one, without .. or a leading /")
    try:
        for directory in directories:
            target = directory / name
            if not target.resolve().is_relative_to(directory.resolve()):
                raise _Refused(f"{shown(name)} is a link that leads out of {directory}")
            if target.exists():
                return target
    except (OSError, RuntimeError):
        raise _Refused("this cannot be followed as a file name") from None
    raise _Refused(f"there is no {shown(name)} in {directories[0]}")
