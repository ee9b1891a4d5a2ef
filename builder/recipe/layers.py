"""How the tables of several files become one, and which file and line each value of it came from.

Two rules. A recipe lies over the one that it extends: what it says of a key replaces what the other said. A part is
taken into a recipe: it adds to what is there, and never changes what the recipe or another part of it says.
merge.py says in which order the two are used.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.catalog.tables import shown
from builder.formats.toml import Document, Key, Position, format_key, nearest

# Lists of tables that are joined where one recipe extends another, and the key that names an element in them.
JOINED: dict[Key, str] = {
    ("users",): "name",
    ("groups",): "name",
    ("files",): "destination",
    ("overlays",): "source",
    ("scripts",): "name",
    ("units",): "name",
    ("timers",): "name",
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
    name: str = ""
    """Of an element of a list of tables, whose key is `key`."""

    @property
    def message(self) -> str:
        named = f" {shown(self.name)}" if self.name else ""
        return f"{format_key(self.key)}{named}: {self.other} sets this as well: leave one of the two out"


def layer(document: Document, *without: str, at: Key = ()) -> Layer:
    """A table of a document, the whole of it if not said otherwise, without the named keys."""
    found = value_at(document.table, at)
    table = {name: value for name, value in found.items() if name not in without} if isinstance(found, dict) else {}
    return Layer(table=table, origins={(): (document, at)})


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
                joined = _Joined(recipe, part, key, before)
                joined.take(value, documents)
                table[name] = joined.values
                origins.update(joined.origins)
                clashes.extend(joined.clashes)
            elif name in old and id(recipe.origin(key)[0]) in documents:
                clashes.append(Clash(key=key, place=part.position(key), other=recipe.position(key)))
            else:
                table[name], origins[key] = value, (part, key)
        return table

    return Layer(table=add(recipe.table, part.table, ()), origins=origins), clashes


def added(base: Layer, more: Layer) -> Layer:
    """The lists of `base` with what `more` adds to them."""
    return with_part(base, more, ())[0]


class _Joined:
    """A list of a recipe, while a part adds to it: a text that is there already is not added again, and an element of
    the same name as one that an extended recipe has takes its place."""

    def __init__(self, recipe: Layer, part: Layer, key: Key, old: list[Any]) -> None:
        self.recipe, self.part, self.key = recipe, part, key
        self.values = list(old)
        self.names = [element_name(each, key) for each in old]
        self.origins: Origins = {}
        self.clashes: list[Clash] = []

    def take(self, new: list[Any], own: Container[int]) -> None:
        for index, value in enumerate(new):
            place = self._place(index, value, own)
            if place is not None:
                self.origins[*self.key, place] = (self.part, (*self.key, index))
                self.values[place : place + 1] = [value]

    def _place(self, index: int, value: Any, own: Container[int]) -> int | None:
        """Where an element goes; None for one that is there, or that clashes with one of `own`."""
        name = element_name(value, self.key)
        there = self.names.index(name) if name and name in self.names else None
        if there is None:
            return len(self.values)
        if isinstance(value, str):
            return None
        if id(self.recipe.origin((*self.key, there))[0]) not in own:
            return there
        places = (self.part.position((*self.key, index)), self.recipe.position((*self.key, there)))
        self.clashes.append(Clash(key=self.key, name=name, place=places[0], other=places[1]))
        return None


def element_name(value: Any, key: Key) -> str:
    """What an element of the list at `key` is called: a text by itself, a table of JOINED by one of its keys; or ""."""
    if isinstance(value, dict):
        value = value.get(JOINED.get(key, ""))
    return value if isinstance(value, str) else ""


def _replace(base: Layer, over: Layer, at: Key, origins: Origins) -> dict[str, Any]:
    old, new = value_at(base.table, at), value_at(over.table, at)
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
    lists = (value_at(base.table, key), value_at(over.table, key))
    order = _joined(*lists, key)
    origins[key] = (over, key)
    origins.update({(*key, place): ((base, over)[side], (*key, index)) for place, (side, index) in enumerate(order)})
    return [lists[side][index] for side, index in order]


def _joined(old: list[Any], new: list[Any], key: Key) -> list[tuple[int, int]]:
    """Which element of which list (0 the old, 1 the new) stands at each place of the joined list."""
    order = [(0, index) for index in range(len(old))]
    names = [element_name(each, key) for each in old]
    for index, each in enumerate(new):
        own = element_name(each, key)
        if own and own in names:
            order[names.index(own)] = (1, index)
            names[names.index(own)] = ""
        else:
            order.append((1, index))
    return order


def value_at(table: Any, key: Key) -> Any:
    """What stands at a key; None where nothing does."""
    for part in key:
        if isinstance(part, int):
            table = table[part] if isinstance(table, list) and part < len(table) else None
        else:
            table = table.get(part) if isinstance(table, dict) else None
    return table
