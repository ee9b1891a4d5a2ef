"""Tables that people write: pydantic models that refuse unknown keys, and their faults in an author's words."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

# Pydantic would look through the metadata of every installed package for plugins, at every start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.errors import RecipeError
from builder.formats.toml import Document, Key, Position, format_key, nearest, printable

_Table = TypeVar("_Table", bound=BaseModel)
_PATTERNS: dict[str, str] = {}  # pattern to what it stands for


class Table(BaseModel):
    """A TOML table: no unknown keys, no changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def text(pattern: str, what: str) -> Any:
    """Of a text that matches `pattern`; `what` says to an author what it has to be."""
    _PATTERNS[pattern] = what
    return Field(pattern=pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a table, and where."""

    key: Key
    message: str
    missing: bool = False
    """Something is absent, so `key` is the table that lacks it."""


def frozen(value: Any) -> Any:
    """TOML's data with tuples for lists, as strict models ask for them."""
    if isinstance(value, dict):
        return {name: frozen(inner) for name, inner in value.items()}
    return tuple(frozen(inner) for inner in value) if isinstance(value, list) else value


def faults(model: type[BaseModel], error: ValidationError) -> Iterator[Fault]:
    """All that pydantic found, in the words of somebody who writes TOML and not Python."""
    for found in error.errors(include_url=False):
        key = tuple(part for part in found["loc"] if part != "[key]")
        kind = found["type"]
        if kind == "missing":
            yield Fault(key=key[:-1], message=f'"{key[-1]}" is missing', missing=True)
        elif kind == "extra_forbidden":
            yield Fault(key=key, message=_unknown(model, key))
        elif kind == "too_short" and found["input"]:
            continue  # it is not empty: its elements are wrong, and each was said
        else:
            yield Fault(key=key, message=_words(kind, found.get("ctx", {}), found["input"], found["msg"]))


def told(document: Document, found: Iterable[Fault]) -> RecipeError:
    """All faults of a document as one error: a line for each, with its place, as they stand there."""
    top = Position(str(document.path), 1, 1)
    placed = sorted(((nearest(document.positions, each.key) or top, each) for each in found), key=lambda pair: pair[0])
    lines = [f"{at}: {format_key(each.key)}{': ' if each.key else ''}{each.message}" for at, each in placed]
    return RecipeError(lines[0], detail="\n".join(lines[1:]))


def validated(model: type[_Table], document: Document, **given: Any) -> _Table:
    """A document as a model, with values that are not in it. RecipeError has all that is wrong with it."""
    try:
        return model.model_validate({**given, **frozen(document.table)})
    except ValidationError as error:
        raise told(document, faults(model, error)) from None


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing when no known word is near."""
    import difflib

    near = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def shown(value: Any) -> str:
    """A value as an author would recognise it, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, tuple | list):
        return "a list"
    return str(value)[:40] if isinstance(value, float) or _is_short(value) else "a number"


def _is_short(value: Any) -> bool:
    """Python refuses to print a number of thousands of digits."""
    return not isinstance(value, int) or value.bit_length() < 128


_KINDS = {
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def _words(kind: str, context: dict[str, Any], value: Any, message: str) -> str:
    match kind:
        case _ if kind in _KINDS:
            return f"this must be {_KINDS[kind]}, and {shown(value)} is not"
        case "literal_error":
            expected = [word.strip("'").lower() for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
            if len(expected) == 1:
                return f"this must be {expected[0]}, and {shown(value)} is not"
            near = suggestion(value, expected) if isinstance(value, str) else ""
            return f"{shown(value)} is not one of {', '.join(expected)}{near}"
        case "string_pattern_mismatch":
            return f"{shown(value)} is not {_PATTERNS.get(context['pattern'], 'of the form ' + context['pattern'])}"
        case "string_too_long":
            return f"longer than {context['max_length']} characters"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "greater_than_equal":
            return f"{shown(value)} is less than {context['ge']}"
        case "less_than_equal":
            return f"{shown(value)} is more than {context['le']}"
        case "value_error":
            return str(context["error"])
    return message


def _unknown(model: type[BaseModel], key: Key) -> str:
    """An unknown key: the nearest key of its table, or the table that it belongs in."""
    *around, name = key
    known = _fields(_table_at(model, tuple(around)))
    homes = [table for table in _fields(model) if name in _fields(_table_at(model, (table,)))]
    if not around and len(homes) == 1:
        return f"unknown key; it belongs in [{homes[0]}]"
    if around and name in _fields(model):
        return "unknown key; it belongs at the top, before the first [table]"
    return f"unknown key{suggestion(str(name), known) or '; known here: ' + ', '.join(known)}"


def _fields(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _table_at(model: type[BaseModel], key: Key) -> type[BaseModel] | None:
    """The model of the table at a key."""
    found: type[BaseModel] | None = model
    for part in key:
        if isinstance(part, int) or found is None:
            continue
        field = next((f for n, f in found.model_fields.items() if part in (n, f.alias)), None)
        found = _model_in(field.annotation) if field is not None else None
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
