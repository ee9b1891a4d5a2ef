"""All files of a recipe as one table, for one variant. Pure.

From the last recipe of the chain up: `remove` takes away of what is there, the file's own tables are laid over it,
`add` adds to its lists, and then the parts are taken in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builder.formats.toml import Position
from builder.recipe.conditions import Facts, Settled, settled
from builder.recipe.documents import Documents
from builder.recipe.layers import Layer, added, laid_over, with_part
from builder.recipe.removals import Removal, without

_NOT_OF_A_PART = ("name", "extends", "include")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The table, where its values are from, and what could not be done."""

    layer: Layer
    refused: tuple[tuple[Position, str], ...]


def merged(read: Documents, facts: Facts) -> Merged:
    """The table for what is true of a variant."""
    whole = Layer(table={}, origins={})
    refused: list[tuple[Position, str]] = []
    for number, (document, parts) in reversed([*enumerate(zip(read.chain, read.parts, strict=True))]):
        this = settled(document, facts)
        found: set[Removal] = {*this.gone}
        if number == len(read.chain) - 1:
            whole = this.own
        else:
            whole, gone = without(whole, this.removes)
            found |= gone
            whole = laid_over(whole, this.own)
        whole = added(whole, this.adds)
        own = [document]
        for part in parts:
            taken = settled(part, facts, *_NOT_OF_A_PART)
            table, gone = without(added(taken.own, taken.adds), this.removes)
            whole, clashes = with_part(whole, table, own)
            refused += [(clash.place, clash.message) for clash in clashes]
            refused += [(each.place, each.unfounded) for each in _unfounded(taken)]
            found |= gone
            own.append(part)
        refused += [(each.place, each.unfounded) for each in this.removes if each not in found]
    return Merged(layer=whole, refused=tuple(refused))


def _unfounded(part: Settled) -> Iterator[Removal]:
    """What a part takes away under a condition, and does not have. Without one it cannot take anything away, and that
    is said already."""
    return (each for each in part.removes if each not in part.gone and each.written[0] == "when")


def distribution_words(table: dict[str, Any]) -> tuple[str, ...]:
    """What conditions can call the recipe's distribution: its id, and the id with the release."""
    distribution = table.get("distribution")
    if not isinstance(distribution, dict):
        return ()
    name, release = distribution.get("id"), distribution.get("release")
    repositories = distribution.get("repositories")
    if name is None and isinstance(repositories, list):
        repacked = any(isinstance(each, dict) and each.get("repack") for each in repositories)
        name = "quickstart" if repacked else None
    if not isinstance(name, str):
        return ()
    return (name, f"{name}-{release}") if isinstance(release, str) else (name,)
