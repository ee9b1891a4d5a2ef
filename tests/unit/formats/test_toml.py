import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import Exit, RecipeError
from builder.formats.toml import Document, Key, Position, format_key, nearest, printable, read

TEXT = """\
# a comment
name = "x"
a.b . "c d" = 1
list = [
    1, # one
    { x = 1, y.z = [2] }, "ü", 'é', 3
]
[t."q r".s] # header
k = true
[[u.v]]
n = 1
[[u.v]]
n = 2
[u.v.w]
z = '''
two lines'''
[[u.v.more]]
deep = {}
"""


def positions(text: str) -> dict[Key, tuple[int, int]]:
    found = Document(Path("x.toml"), text, {}).positions
    return {key: (place.line, place.column) for key, place in found.items()}


def keys(value: Any, at: Key = ()) -> set[Key]:
    found = {at}
    if isinstance(value, dict):
        found |= {key for name, inner in value.items() for key in keys(inner, (*at, name))}
    if isinstance(value, list):
        found |= {key for index, inner in enumerate(value) for key in keys(inner, (*at, index))}
    return found


def test_positions() -> None:
    assert positions(TEXT) == {
        (): (1, 1),
        ("name",): (2, 1),
        ("a",): (3, 1),
        ("a", "b"): (3, 1),
        ("a", "b", "c d"): (3, 1),
        ("list",): (4, 1),
        ("list", 0): (5, 5),
        ("list", 1): (6, 5),
        ("list", 1, "x"): (6, 7),
        ("list", 1, "y"): (6, 14),
        ("list", 1, "y", "z"): (6, 14),
        ("list", 1, "y", "z", 0): (6, 21),
        ("list", 2): (6, 27),
        ("list", 3): (6, 32),
        ("list", 4): (6, 37),
        ("t", "q r", "s"): (8, 2),
        ("t", "q r", "s", "k"): (9, 1),
        ("u", "v"): (10, 3),
        ("u", "v", 0): (10, 3),
        ("u", "v", 0, "n"): (11, 1),
        ("u", "v", 1): (12, 3),
        ("u", "v", 1, "n"): (13, 1),
        ("u", "v", 1, "w"): (14, 2),
        ("u", "v", 1, "w", "z"): (15, 1),
        ("u", "v", 1, "more"): (17, 3),
        ("u", "v", 1, "more", 0): (17, 3),
        ("u", "v", 1, "more", 0, "deep"): (18, 1),
    }
    # Only tables that no header names stand nowhere.
    assert keys(tomllib.loads(TEXT)) - positions(TEXT).keys() == {("t",), ("t", "q r"), ("u",)}


NAMES = st.sampled_from(["a", "b", "a-b", '"c d"', "'e.f'", '"\\u00fc"', "1"])
VALUES = st.recursive(
    st.sampled_from(["1", "true", '"ü ] }"', "'#'", '"""\n"""', "1979-05-27"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]")
        | st.dictionaries(NAMES, inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{name} = {value}" for name, value in table.items()) + "}"
        )
    ),
    max_leaves=5,
)
PAIRS = st.tuples(st.lists(NAMES, min_size=1, max_size=3), VALUES).map(lambda pair: f"{'.'.join(pair[0])} = {pair[1]}")
HEADERS = st.tuples(st.lists(NAMES, min_size=1, max_size=3).map(".".join), st.booleans()).map(
    lambda header: f"[[{header[0]}]]" if header[1] else f"[{header[0]}]"
)


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(PAIRS | HEADERS | st.just("# [comment]"), max_size=8))
def test_everything_written_has_a_position(lines: list[str]) -> None:
    """Whatever tomllib reads: each value is found, or is a table that only a longer header implies."""
    text = "\n".join(lines)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    places = positions(text)
    for key in keys(table) - places.keys():
        assert any(other[: len(key)] == key for other in places)
    assert {key for key in places if key not in keys(table)} == set()


def test_nearest() -> None:
    places = {(): Position("f", 1, 1), ("a",): Position("f", 2, 1)}
    assert nearest(places, ("a", "b", 0)) == Position("f", 2, 1)
    assert nearest(places, ("x",)) == Position("f", 1, 1)
    assert nearest({}, ("x",)) is None
    assert str(Position("f", 1, 2)) == "f:1:2"


def test_words() -> None:
    assert format_key(("files", 0, "a b", 'q"\n')) == 'files[0]."a b"."q??"'
    assert format_key(()) == ""
    assert printable("a\tb" + "x" * 100) == "a?b" + "x" * 54 + "..."


@pytest.mark.parametrize("content", [b"", b"\n", "ü = 1".encode()[:1], b"a = 1\r\nb = 2"])
def test_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    try:
        assert read(path).table == tomllib.loads(content.decode())
    except RecipeError as error:
        assert error.exit == Exit.USAGE
        assert error.brief == f"{path}:1:1: not UTF-8 text: byte 0xc3"
