"""`[[when]]`: what a file says for some variants only. No expressions: a closed set of words, each with its values.

Conditions are settled in each file by itself, before files are merged: so what a recipe says of a key still replaces
what the extended one says, whatever that one's conditions are. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.catalog.tables import Fault
from builder.formats.toml import Document, Key
from builder.recipe.layers import JOINED, Layer, added, laid_over, layer, value_at
from builder.recipe.removals import Removal, removals, without

WORDS = ("architecture", "distribution", "virtualization", "instance_type")
# Packages are locked for an architecture, and every variant of it has them in common.
_SHARED = ("virtualization", "instance_type")
# The keys of a recipe that may differ between its variants, and in distribution the names of packages alone.
CONDITIONAL = (
    "timezone", "locale", "distribution", "network", "ssh", "users", "groups", "files", "overlays", "scripts",
    "services", "units", "timers", "sysctl", "modules", "selinux", "image", "verify", "boot", "register", "volume",
)  # fmt: skip
# Those that may not.
COMMON = (
    "extends", "include", "name", "version", "description", "architectures", "virtualization", "instance_types",
    "kernel", "base", "mirrors", "bundle", "publish", "limits",
)  # fmt: skip
# What a file says besides the recipe itself.
BESIDES = ("add", "remove", "when")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What conditions ask about: for each of WORDS all that is true of a variant."""

    values: Mapping[str, tuple[str, ...]]
    forced: tuple[int, int] | None = None
    """A document (by its id) and the index of one of its conditions, which holds whatever it asks: to see whether what
    it says is right, though no variant of the recipe is asked for that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A file as it is for one variant."""

    own: Layer
    adds: Layer
    """Lists that are added to those of the extended recipe."""
    removes: tuple[Removal, ...]
    gone: frozenset[Removal]
    """Those of them that the file itself had something for."""


def conditions(document: Document) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The document's conditional tables that are tables; what else stands there is the model's to say."""
    written = document.table.get("when")
    for index, each in enumerate(written if isinstance(written, list) else ()):
        if isinstance(each, dict):
            yield index, each


def holds(document: Document, index: int, table: Mapping[str, Any], facts: Facts) -> bool:
    """Whether a conditional table is for these facts: every word that it asks has one of the values."""
    if facts.forced is not None:
        return facts.forced == (id(document), index)
    asked = table.get("if")
    if not isinstance(asked, dict) or not asked:
        return False
    return all(
        isinstance(values, list) and any(value in facts.values.get(word, ()) for value in values)
        for word, values in asked.items()
    )


def holding(documents: Iterable[Document], facts: Facts) -> tuple[tuple[int, int], ...]:
    """Which conditions of all documents hold: variants with equal ones have equal recipes."""
    return tuple(
        (number, index)
        for number, document in enumerate(documents)
        for index, table in conditions(document)
        if holds(document, index, table, facts)
    )


def settled(document: Document, facts: Facts, *besides: str) -> Settled:
    """A file with what it says for this variant. In a conditional table a value replaces the file's own, a list is
    added to, and `remove` takes away, in the order of the file. `besides`: further keys to leave out."""
    own = layer(document, *BESIDES, *besides)
    adds = layer(document, at=("add",))
    removes = [*removals(layer(document, at=("remove",)))]
    gone: set[Removal] = set()
    for index, table in conditions(document):
        if not holds(document, index, table, facts):
            continue
        at: Key = ("when", index)
        named = [*removals(layer(document, at=(*at, "remove")))]
        own, found = without(own, named)
        removes += named
        gone |= found
        said = {name: value for name, value in table.items() if name in CONDITIONAL}
        lists = _lists(said, ())
        values = _besides(said, lists)
        own = laid_over(own, Layer(table=values, origins={(): (document, at)}))
        adds = added(adds, Layer(table=lists, origins={(): (document, at)}))
    return Settled(own=own, adds=adds, removes=tuple(removes), gone=frozenset(gone))


def _lists(table: Mapping[str, Any], at: Key) -> dict[str, Any]:
    """The plain lists of a table, with the tables around them."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and (inner := _lists(value, (*at, name))):
            found[name] = inner
        elif isinstance(value, list) and (*at, name) not in JOINED:
            found[name] = value
    return found


def _besides(table: Mapping[str, Any], lists: Mapping[str, Any]) -> dict[str, Any]:
    """A table without its plain lists."""
    left: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, list) and name in lists:
            continue
        if isinstance(value, dict) and name in lists:
            value = _besides(value, lists[name])
            if not value:
                continue
        left[name] = value
    return left


def condition_faults(document: Document, distribution: Sequence[str]) -> Iterator[Fault]:
    """What is wrong with a file's conditions, apart from their form. `distribution`: what the recipe's is called."""
    for index, table in conditions(document):
        at: Key = ("when", index)
        asked = table.get("if")
        asked = asked if isinstance(asked, dict) else {}
        if "distribution" in asked and not distribution:
            message = 'the recipe does not say which distribution it has: write distribution.id, such as "fedora"'
            yield Fault(key=(*at, "if", "distribution"), message=message)
        for name in table:
            if name in COMMON:
                yield Fault(
                    key=(*at, name), message=f"all variants have one {name}: make a recipe that extends this one"
                )
        for key in ((*at, "distribution"), (*at, "remove", "distribution")):
            word = next((word for word in _SHARED if word in asked), "")
            if word and value_at(table, key[2:]) is not None:
                message = f"all variants of an architecture have their packages in common: leave {word} out of its if"
                yield Fault(key=key, message=message)
