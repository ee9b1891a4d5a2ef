"""Plain data: values to JSON and back, one canonical form, and the hash of it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

_Value = TypeVar("_Value")
_LATER = "later"


def later(default: _Value) -> _Value:
    """A field of a dataclass that came when objects had been made without it: plain data leaves it out at its default,
    so that their keys stay what they are."""
    field: _Value = dataclasses.field(default=default, metadata={_LATER: True})
    return field


def to_plain(value: Any) -> Any:
    """Turn frozen dataclasses, tuples, mappings and enums into JSON data. Floats are refused: they have no one form."""
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return to_plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: to_plain(v) for f, v in named if not (_LATER in f.metadata and v == f.default)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    raise TypeError(f"{type(value).__name__} is not plain data")


def canonical_json(value: Any) -> bytes:
    """The one byte form of plain data: keys sorted, no spaces, ASCII only."""
    return json.dumps(
        to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 lower-case hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
