"""Reading TOML from authors: bounded, never a traceback, and with positions when something has to be said.

`tomllib` decides what a text means. Positions come from tree-sitter's parser of TOML, since tomllib keeps none; it is
loaded only when a position is asked for, so that a right file does not pay for it.
"""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from builder.errors import RecipeError

MAX_BYTES = 128 * 1024
MAX_DEPTH = 32
# tomllib works on every prefix of a dotted key, so its time grows with the square of the parts; a line with more dots
# than this is looked at before tomllib sees it.
MAX_DOTS = 64

Key = tuple[str | int, ...]
"""Where a value is in a document: table keys and array indices."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text, counted from 1, in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Document:
    """A TOML file that was read: its table, and where its values stand."""

    def __init__(self, path: Path, text: str, table: dict[str, Any]) -> None:
        self.path = path
        self.text = text
        self.table = table

    @cached_property
    def positions(self) -> dict[Key, Position]:
        """The position of every key and every array element."""
        return {key: place for key, place in _positions(str(self.path), self.text)}


def read(path: Path) -> Document:
    """Read a file of at most 128 KiB; RecipeError with a position for anything that is not plain TOML."""
    text = _decode(path, _bytes(path))
    _refuse_long_keys(path, text)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, text, str(error)) from None
    except RecursionError:
        raise _too_deep(Position(str(path), *_deepest_bracket(text))) from None
    except ValueError:  # Python refuses to convert a number of thousands of digits
        place = _place(text, max(re.finditer(r"[0-9_]+", text), key=lambda found: len(found[0])).start())
        raise RecipeError(f"{Position(str(path), *place)}: this number is too long") from None
    document = Document(path, text, table)
    too_deep = _below(table, MAX_DEPTH)
    if too_deep is not None:
        below = (place for key, place in document.positions.items() if key[: len(too_deep)] == too_deep)
        raise _too_deep(min(below, default=Position(str(path), 1, 1)))
    return document


def nearest(positions: Mapping[Key, Position], key: Key) -> Position | None:
    """The position of a key, or of the innermost table around it that is written down."""
    for end in range(len(key), -1, -1):
        if key[:end] in positions:
            return positions[key[:end]]
    return None


def format_key(key: Key) -> str:
    """`files[0].destination`, with names quoted where TOML would."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else _quoted(part))
    return text


def printable(text: str, limit: int = 60) -> str:
    """A text from outside, fit for one line of a message."""
    return "".join(c if c.isprintable() else "?" for c in (text if len(text) <= limit else text[: limit - 3] + "..."))


def _quoted(part: str) -> str:
    return '"' + printable(part).replace('"', "?") + '"'


def _beside(path: Path) -> str:
    """A file of nearly that name, for one that is not there."""
    try:
        names = [each.stem for each in path.parent.glob("*.toml")]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.stem, names, n=1, cutoff=0.7)
    if not near:
        return ""
    meant = path.with_name(f"{near[0]}.toml")
    return f"did you mean {printable(str(meant), 4096)}?"


def _bytes(path: Path) -> bytes:
    """A regular file's bytes. Opened without waiting, since a named pipe would wait for ever."""
    place = f"{printable(str(path), 4096)}:1:1"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise RecipeError(f"{place}: not a regular file")
            content = b""
            while len(content) <= MAX_BYTES and (more := os.read(handle, MAX_BYTES + 1)):
                content += more
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a file name"
        raise RecipeError(f"{place}: cannot be read: {why}", hint=_beside(path)) from None
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{place}: larger than {MAX_BYTES // 1024} KiB: this is no recipe")
    return content


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").replace("\r\n", "\n")
        place = Position(str(path), *_place(before, len(before)))
        raise RecipeError(
            f"{place}: not UTF-8 text: byte 0x{content[error.start]:02x}", hint="save the file as UTF-8"
        ) from None


def _place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


# tomllib's messages that mean little to somebody who does not write parsers.
_WORDS = {
    "Cannot overwrite a value": "this key has a value already",
    "Invalid value": "not a value: a text needs quotes around it",
    "Invalid statement": "this is neither a [table] nor key = value",
    "Expected newline or end of document after a statement": "the line should end here: a text needs quotes around it",
    "Expected '=' after a key in a key/value pair": 'a "=" should stand here',
}


def _syntax_error(path: Path, text: str, message: str) -> RecipeError:
    """tomllib's message in an author's words, its position put in front."""
    found = re.fullmatch(r"(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", message, re.DOTALL)
    what = found[1] if found else message
    if found and found[2]:
        place = (int(found[2]), int(found[3]))
    else:
        last = text.rstrip()
        place = _place(last, len(last))
    twice = re.fullmatch(r"Cannot declare \((.*?),?\) twice", what, re.DOTALL)
    if twice:
        what = f"[{twice[1].replace(chr(39), '').replace(', ', '.')}] stands here twice"
    what = _WORDS.get(what, what[:1].lower() + what[1:])
    return RecipeError(f"{Position(str(path), *place)}: {printable(what, 200)}")


def _too_deep(place: Position) -> RecipeError:
    return RecipeError(f"{place}: nested too deeply: at most {MAX_DEPTH} levels are read")


def _deepest_bracket(text: str) -> tuple[int, int]:
    """The first bracket beyond the depth that is read, brackets in strings counted too."""
    depth = 0
    for found in re.finditer(r"[\[\]{}]", text):
        depth += 1 if found[0] in "[{" else -1
        if depth > MAX_DEPTH:
            return _place(text, found.start())
    return 1, 1


def _below(table: dict[str, Any], limit: int) -> Key | None:
    """The key of a value nested deeper than `limit`, if there is one."""
    todo: list[tuple[Key, Any]] = [((), table)]
    while todo:
        key, value = todo.pop()
        if len(key) > limit:
            return key
        if isinstance(value, dict):
            todo.extend(((*key, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            todo.extend(((*key, index), inner) for index, inner in enumerate(value))
    return None


def _refuse_long_keys(path: Path, text: str) -> None:
    if not any(line.count(".") > MAX_DOTS for line in text.split("\n")):
        return
    source = text.encode("utf-8", "surrogatepass")
    for node in _nodes(_parsed(source)):
        # The grammar nests a dotted key to the left: its outermost node spans all its parts.
        if node.type == "dotted_key" and _depth(node) > MAX_DEPTH:
            raise _too_deep(Position(str(path), *_node_place(text, source, node)))


def _depth(node: Any) -> int:
    depth = 1
    while node is not None and node.type == "dotted_key":
        depth, node = depth + 1, node.named_child(0)
    return depth


def _parsed(source: bytes) -> Any:
    import tree_sitter
    import tree_sitter_toml

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language())).parse(source).root_node


def _nodes(root: Any) -> Iterator[Any]:
    """Every named node, parents first; no recursion, since the text decides the depth."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.named_children))


def _node_place(text: str, source: bytes, node: Any) -> tuple[int, int]:
    """Line and column of a node. The parser counts bytes; where all are ASCII, these are characters already."""
    row, column = node.start_point
    if len(text) != len(source):
        begin = node.start_byte - column
        column = len(source[begin : node.start_byte].decode("utf-8", "replace"))
    return row + 1, column + 1


def _key_parts(node: Any) -> list[str]:
    parts: list[str] = []
    while node.type == "dotted_key":
        node, last = node.named_children
        parts.append(_unquoted(last))
    parts.append(_unquoted(node))
    return parts[::-1]


def _unquoted(node: Any) -> str:
    text: str = node.text.decode("utf-8", "replace")
    return next(iter(tomllib.loads(f"{text} = 0"))) if node.type == "quoted_key" else text


def _positions(file: str, text: str) -> Iterator[tuple[Key, Position]]:
    """Every key and array element with its place, in no particular order."""
    source = text.encode("utf-8", "surrogatepass")
    elements: dict[Key, int] = {}  # how many elements an array of tables has by now
    todo: list[tuple[Any, Key]] = [(_parsed(source), ())]  # a node, and the key of what it stands in
    yield (), Position(file, 1, 1)
    while todo:
        node, around = todo.pop()
        children = [child for child in node.named_children if child.type != "comment"]
        inner: list[tuple[Any, Key]] = []
        if node.type in ("document", "inline_table"):
            inner = [(child, around) for child in children]
        elif node.type in ("table", "table_array_element"):
            keys = _header(_key_parts(children[0]), node.type == "table_array_element", elements)
            yield from ((key, Position(file, *_node_place(text, source, children[0]))) for key in keys)
            inner = [(child, keys[-1]) for child in children[1:]]
        elif node.type == "pair":
            parts, place = _key_parts(children[0]), Position(file, *_node_place(text, source, children[0]))
            yield from (((*around, *parts[:end]), place) for end in range(1, len(parts) + 1))
            inner = [(child, (*around, *parts)) for child in children[1:]]
        elif node.type == "array":
            inner = [(child, (*around, index)) for index, child in enumerate(children)]
            yield from ((key, Position(file, *_node_place(text, source, child))) for child, key in inner)
        todo.extend(reversed(inner))  # in the order of the text, on which the counting of elements rests


def _header(parts: list[str], is_element: bool, elements: dict[Key, int]) -> list[Key]:
    """The keys that a [header] or an [[element]] opens, the last one being its own."""
    key: Key = ()
    for part in parts if not is_element else parts[:-1]:
        key = (*key, part)
        if key in elements:
            key = (*key, elements[key] - 1)
    if not is_element:
        return [key]
    array = (*key, parts[-1])
    elements[array] = elements.get(array, 0) + 1
    element = (*array, elements[array] - 1)
    return [array, element] if elements[array] == 1 else [element]
