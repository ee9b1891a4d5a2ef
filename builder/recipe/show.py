"""A merged recipe as one TOML text, each value with the file and line that it is from. Pure."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from builder.formats.toml import Key
from builder.recipe.layers import Layer

# The files are merged already.
_DONE = ("extends", "include")
_COLUMN = 60


def merged_text(layer: Layer) -> str:
    """TOML that means the same recipe, of what was written; what was left out has the default of recipes/README.md."""
    table = {name: value for name, value in layer.table.items() if name not in _DONE}
    return "\n".join(_table(layer, table, (), ())) + "\n"


def _table(layer: Layer, table: Mapping[str, Any], key: Key, header: tuple[str, ...]) -> Iterator[str]:
    """Values first, then the tables in it: `header` is how TOML calls them, `key` where they are."""
    later: list[tuple[str, Any]] = []
    for name, value in table.items():
        if isinstance(value, dict) or _tables(value):
            later.append((name, value))
        else:
            yield from _value(layer, name, value, (*key, name))
    for name, value in later:
        path = (*header, name)
        if isinstance(value, dict):
            if value and not all(isinstance(each, dict) or _tables(each) for each in value.values()):
                yield f"\n[{_path(path)}]"
            yield from _table(layer, value, (*key, name), path)
        else:
            for index, each in enumerate(value):
                yield "\n" + _with_place(layer, f"[[{_path(path)}]]", (*key, name, index))
                yield from _element(layer, each, (*key, name, index))


def _element(layer: Layer, table: Mapping[str, Any], key: Key) -> Iterator[str]:
    """A table of a list: what is a table in it stands in one line."""
    for name, value in table.items():
        yield from _value(layer, name, value, (*key, name))


def _value(layer: Layer, name: str, value: Any, key: Key) -> Iterator[str]:
    """One line; a line an element for a list that several files have a hand in."""
    if isinstance(value, list) and len({_file(layer, (*key, index)) for index in range(len(value))}) > 1:
        yield f"{_word(name)} = ["
        for index, each in enumerate(value):
            yield _with_place(layer, f"    {_plain(each)},", (*key, index))
        yield "]"
    else:
        at = (*key, 0) if isinstance(value, list) and value else key
        yield _with_place(layer, f"{_word(name)} = {_plain(value)}", at)


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _file(layer: Layer, key: Key) -> str:
    return layer.position(key).file


def _with_place(layer: Layer, text: str, key: Key) -> str:
    place = layer.position(key)
    return f"{text:<{_COLUMN}}  # {_beside(place.file)}:{place.line}"


def _beside(file: str) -> str:
    """A shorter name of the file, where there is one; nothing that a comment cannot hold."""
    near = os.path.relpath(file)
    return "".join(c if c.isprintable() else "?" for c in (near if len(near) < len(file) else file))


def _path(parts: tuple[str, ...]) -> str:
    return ".".join(_word(each) for each in parts)


def _word(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _plain(name)


def _plain(value: Any) -> str:
    """A value in one line of TOML: JSON's texts are TOML's, but for DEL, which TOML wants escaped."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list):
        return f"[{', '.join(_plain(each) for each in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_word(name)} = {_plain(each)}" for name, each in value.items()) + " }"
    return str(value).lower() if isinstance(value, bool) else str(value)
