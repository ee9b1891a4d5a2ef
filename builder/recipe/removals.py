"""What a recipe takes away of the one that it extends, of parts, or for some variants: `remove`, by names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from builder.catalog.tables import shown
from builder.formats.toml import Key, Position, format_key
from builder.recipe.layers import Layer, Origins, element_name, value_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One name that is to be gone from the list, or the table of texts, at a key."""

    key: Key
    name: str
    place: Position
    written: Key
    """Where it stands in the file that says so."""

    @property
    def unfounded(self) -> str:
        """What is wrong when there is nothing of that name."""
        return f"{format_key(self.written)}: there is no {shown(self.name)} to remove from {format_key(self.key)}"


def removals(table: Layer) -> Iterator[Removal]:
    """All that a `remove` table names. What is no list of texts is the model's to say."""
    todo: list[tuple[Key, Any]] = [((), table.table)]
    while todo:
        key, value = todo.pop(0)
        if isinstance(value, dict):
            todo.extend(((*key, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            for index, name in enumerate(value):
                if isinstance(name, str):
                    _, written = table.origin((*key, index))
                    yield Removal(key=key, name=name, place=table.position((*key, index)), written=written)


def without(layer: Layer, wanted: Sequence[Removal]) -> tuple[Layer, set[Removal]]:
    """A layer with none of what was named, and which of it there was."""
    found: set[Removal] = set()
    for removal in wanted:
        there = value_at(layer.table, removal.key)
        if isinstance(there, list):
            kept = [at for at, each in enumerate(there) if element_name(each, removal.key) != removal.name]
            if len(kept) < len(there):
                found.add(removal)
                layer = _replaced(layer, removal.key, [there[at] for at in kept], kept)
        elif isinstance(there, dict) and removal.name in there:
            found.add(removal)
            layer = _replaced(layer, removal.key, {name: there[name] for name in there if name != removal.name}, ())
    return layer, found


def _replaced(layer: Layer, key: Key, value: Any, kept: Sequence[int]) -> Layer:
    """A layer with another value at a key; `kept` says where a list's elements stood before."""
    origins: Origins = {(): (layer, ()), **{(*key, new): (layer, (*key, old)) for new, old in enumerate(kept)}}
    return Layer(table=_with(layer.table, key, value), origins=origins)


def _with(table: dict[str, Any], key: Key, value: Any) -> dict[str, Any]:
    name, *inner = key
    return {**table, str(name): _with(table[str(name)], tuple(inner), value) if inner else value}
