"""How the tables of several files become one, and which file and line each value of it came from.

Two rules. A recipe lies over the one that it extends: what it says of a key replaces what the other said. A part is
taken into a recipe: it adds to what is there, and never changes what the recipe or another part of it says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.formats.toml import Document, Key, Position, format_key, nearest

# Lists of tables that are joined where one recipe extends another, and the key that names an element in them.
JOINED: dict[Key, str] = {
    ("users",): "name",
    ("files",): "destination",
    ("scripts",): "",
    ("distribution", "repositories"): "id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A table, and what its values were taken from: a key that is not in `origins` goes with the one around it."""

    table: dict[str, Any]
    origins: Mapping[Key, "tuple[Layer | Document, Key]"]

    def origin(self, key: Key) -> tuple[Document, Key]:
        """The document that has the value at a key, and its key there."""
        end = next(end for end in range(len(key), -1, -1) if key[:end] in self.origins)
        source, there = self.origins[key[:end]]
        key = (*there, *key[end:])
        return source.origin(key) if isinstance(source, Layer) else (source, key)

    def position(self, key: Key) -> Position:
        """The place of a key, or of the innermost table around it that is written down."""
        document, there = self.origin(key)
        return nearest(document.positions, there) or Position(str(document.path), 1, 1)


Origins = dict[Key, tuple[Layer | Document, Key]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A value that a part sets, and that the recipe or another of its parts has set."""

    key: Key
    place: Position
    other: Position

    @property
    def message(self) -> str:
        return f"{format_key(self.key)}: {self.other} sets this as well: leave one of the two out"


def layer(document: Document, *without: str) -> Layer:
    """A document by itself, without the named keys."""
    table = {name: value for name, value in document.table.items() if name not in without}
    return Layer(table=table, origins={(): (document, ())})


def laid_over(base: Layer, over: Layer) -> Layer:
    """What a recipe is that extends another."""
    origins: Origins = {}
    return Layer(table=_replace(base, over, (), origins), origins=origins)


def with_part(recipe: Layer, part: Layer, own: Iterable[Document]) -> tuple[Layer, list[Clash]]:
    """A recipe with a part taken in. `own` are the recipe's file and the parts it took in before: what one of them
    sets cannot be set again; what comes from a recipe that it extends is replaced. Lists are added to."""
    origins: Origins = {}
    clashes: list[Clash] = []
    documents = {id(each) for each in own}

    def add(old: dict[str, Any], new: dict[str, Any], at: Key) -> dict[str, Any]:
        origins[at] = (recipe, at)
        table = dict(old)
        for name, value in new.items():
            key = (*at, name)
            before = old.get(name)
            if isinstance(value, dict) and isinstance(before, dict):
                table[name] = add(before, value, key)
            elif isinstance(value, list) and isinstance(before, list):
                table[name] = _added(before, value, part, key, origins)
            elif name in old and id(recipe.origin(key)[0]) in documents:
                clashes.append(Clash(key=key, place=part.position(key), other=recipe.position(key)))
            else:
                table[name], origins[key] = value, (part, key)
        return table

    return Layer(table=add(recipe.table, part.table, ()), origins=origins), clashes


def _added(old: list[Any], new: list[Any], part: Layer, key: Key, origins: Origins) -> list[Any]:
    """A list with what a part adds; a text that is there already is not added again."""
    joined = list(old)
    for index, value in enumerate(new):
        if not isinstance(value, str) or value not in old:
            origins[*key, len(joined)] = (part, (*key, index))
            joined.append(value)
    return joined


def _replace(base: Layer, over: Layer, at: Key, origins: Origins) -> dict[str, Any]:
    old, new = _at(base.table, at), _at(over.table, at)
    origins[at] = (over, at)
    table = {}
    for name in dict.fromkeys((*old, *new)):
        key = (*at, name)
        if name not in new:
            table[name], origins[key] = old[name], (base, key)
        elif isinstance(new[name], dict) and isinstance(old.get(name), dict):
            table[name] = _replace(base, over, key, origins)
        elif key in JOINED and isinstance(new[name], list) and isinstance(old.get(name), list):
            table[name] = _join(base, over, key, origins)
        else:
            table[name], origins[key] = new[name], (over, key)
    return table


def _join(base: Layer, over: Layer, key: Key, origins: Origins) -> list[Any]:
    """The other recipe's elements, those of the same name replaced, then this one's."""
    lists = (_at(base.table, key), _at(over.table, key))
    order = _joined(*lists, JOINED[key])
    origins[key] = (over, key)
    origins.update({(*key, place): ((base, over)[side], (*key, index)) for place, (side, index) in enumerate(order)})
    return [lists[side][index] for side, index in order]


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


def _at(table: Any, key: Key) -> Any:
    for part in key:
        table = table.get(part) if isinstance(table, dict) else None
    return table
