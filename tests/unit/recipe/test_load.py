import os
import shutil
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builder.errors import Exit, RecipeError
from builder.formats.toml import MAX_BYTES
from builder.recipe.files import collect
from builder.recipe.load import KERNELS, MAX_FINDINGS, load_recipe

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests/fixtures/recipes"
GOOD = sorted([*FIXTURES.glob("good-*.toml"), *(ROOT / "recipes").glob("*.toml")])
BAD = sorted(FIXTURES.glob("bad-*.toml"))
DEEP = "nested too deeply: at most 32 levels are read"
SMALL = (FIXTURES / "good-small.toml").read_text()


def refused(path: Path) -> list[str]:
    """Every finding, with the names of directories taken out."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.exit == Exit.USAGE
    lines = [caught.value.brief, *caught.value.detail.splitlines()]
    return [
        line.replace(f"{path}:", "", 1).replace(str(path.parent), "DIRECTORY").replace(str(KERNELS), "KERNELS")
        for line in lines
    ]


def write(directory: Path, text: str | bytes, name: str = "recipe.toml") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good(path: Path) -> None:
    loaded = load_recipe(path)
    assert (loaded.path, loaded.files[0], loaded.directory) == (path, path, path.with_suffix(""))
    assert loaded.kernel.name == loaded.recipe.kernel


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad(path: Path) -> None:
    """A bad recipe says in its first lines what is wrong with it: all of it, in this order."""
    expected = [line[3:] for line in path.read_text().splitlines() if line.startswith("#: ")]
    assert refused(path) == expected


def test_extends() -> None:
    loaded = load_recipe(FIXTURES / "good-extends.toml")
    recipe = loaded.recipe
    assert loaded.files == (FIXTURES / "good-extends.toml", FIXTURES / "good-all.toml")
    assert loaded.directories == (FIXTURES / "good-extends", FIXTURES / "good-all")
    # A value replaces the other's, lists too; what is not said stays; tables are merged.
    assert (recipe.name, recipe.version, recipe.instance_types) == ("child", "1.2", ("m1.medium",))
    assert (recipe.image.size, recipe.image.filesystem) == ("auto", "ext3")
    # Lists of tables are joined, and one of the same name takes the place of the other's.
    assert [(user.name, user.sudo, user.uid) for user in recipe.users] == [("joe", False, None), ("ann", False, None)]
    assert [(file.destination, file.content) for file in recipe.files] == [
        ("/etc/motd", None),
        ("/etc/greeting", "good bye\n"),
    ]
    assert [script.run for script in recipe.scripts] == ["true", "echo child"]


def test_include() -> None:
    """A part adds to what is there, once, and takes the place of what the extended recipe says."""
    loaded = load_recipe(FIXTURES / "good-include.toml")
    recipe = loaded.recipe
    assert loaded.parts == (FIXTURES / "parts/good-inner.toml", FIXTURES / "parts/good-part.toml")
    assert loaded.directories[-1] == FIXTURES / "parts/good-part"
    assert recipe.distribution.packages == ("systemd", "curl", "less")
    assert recipe.services.enable == ("getty@tty1", "ssh")
    assert (recipe.timezone, recipe.locale) == ("Europe/Berlin", "C.UTF-8")
    (file,) = collect(loaded, {}).files
    assert (file.destination, loaded.recipe.files[0].source) == ("/etc/part", "part")


def test_a_part_takes_the_place_of_the_extended(tmp_path: Path) -> None:
    write(tmp_path, 'timezone = "UTC"\n' + SMALL, "base.toml")
    write(tmp_path, 'timezone = "Asia/Tokyo"\n', "part.toml")
    path = write(tmp_path, 'extends = "base.toml"\ninclude = ["part.toml"]\nname = "x"\n')
    assert load_recipe(path).recipe.timezone == "Asia/Tokyo"
    over = write(tmp_path, 'extends = "recipe.toml"\nname = "y"\ntimezone = "Asia/Seoul"\n', "over.toml")
    assert load_recipe(over).recipe.timezone == "Asia/Seoul"


def test_the_same_lines_in_the_recipe_are_the_same_recipe(tmp_path: Path) -> None:
    lines = '[ssh]\nmetadata_key = false\n[[files]]\ndestination = "/etc/a"\ncontent = "a"\n'
    write(tmp_path, lines, "part.toml")
    taken = load_recipe(write(tmp_path, 'include = ["part.toml"]\n' + SMALL)).recipe
    assert taken.model_copy(update={"include": ()}) == load_recipe(write(tmp_path, SMALL + lines)).recipe


def test_the_factorys_own_parts_are_found_from_anywhere(tmp_path: Path) -> None:
    path = write(tmp_path, 'include = ["parts/first-boot.toml"]\n' + SMALL)
    assert ROOT / "recipes/parts/first-boot.toml" in load_recipe(path).parts


def test_two_parts_with_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        write(tmp_path, f'[[files]]\ndestination = "/etc/{name}"\nsource = "file"\n', f"{name}.toml")
    path = write(tmp_path, 'include = ["a.toml", "b.toml"]\n' + SMALL)
    message = 'source: "file" is in DIRECTORY/a and in DIRECTORY/b: rename one'
    assert refused(path) == [f"DIRECTORY/{name}.toml:3:1: files[{n}].{message}" for n, name in enumerate("ab")]
    # One of the recipe's own replaces both.
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/file").touch()
    assert [file.destination for file in collect(load_recipe(path), {}).files] == ["/etc/a", "/etc/b"]


def test_parts_end(tmp_path: Path) -> None:
    names = [f"p{index}.toml" for index in range(70)]
    for name in names:
        write(tmp_path, "", name)
    listed = ", ".join(f'"{name}"' for name in names)
    lines = refused(write(tmp_path, f"include = [{listed}]\n{SMALL}"))
    assert lines[0].endswith("include: more than 64 parts")


def test_positions_in_a_chain(tmp_path: Path) -> None:
    """A finding names the file and line that it was written in, also where lists were joined."""
    base = write(
        tmp_path, SMALL + '[[users]]\nname = "joe"\nuid = "1"\n[[users]]\nname = "ann"\nuid = "2"\n', "base.toml"
    )
    middle = write(tmp_path, 'extends = "base.toml"\nname = "m"\n[[users]]\nname = "joe"\nuid = "3"\n', "middle.toml")
    top = write(tmp_path, 'extends = "middle.toml"\nname = "t"\n[[users]]\nname = "eve"\nuid = "4"\n', "top.toml")
    with pytest.raises(RecipeError) as caught:
        load_recipe(top)
    assert [caught.value.brief, *caught.value.detail.splitlines()] == [
        f'{top}:5:1: users[2].uid: this must be a whole number, and "4" is not',
        f'{base}:15:1: users[1].uid: this must be a whole number, and "2" is not',
        f'{middle}:5:1: users[0].uid: this must be a whole number, and "3" is not',
    ]


def test_a_chain_ends(tmp_path: Path) -> None:
    for index in range(12):
        write(tmp_path, f'extends = "r{index + 1}.toml"\nname = "r"\n', f"r{index}.toml")
    assert refused(tmp_path / "r0.toml") == ["DIRECTORY/r7.toml:1:1: extends: more than 8 recipes in a row"]


def test_a_loop_of_two(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "b.toml"\nname = "a"\n', "a.toml")
    write(tmp_path, 'extends = "a.toml"\nname = "b"\n', "b.toml")
    assert refused(tmp_path / "a.toml") == [
        "DIRECTORY/b.toml:1:1: extends: a loop: a.toml extends b.toml extends a.toml"
    ]


def test_a_link_out(tmp_path: Path) -> None:
    inside = tmp_path / "recipes"
    inside.mkdir()
    write(tmp_path, SMALL, "outside.toml")
    (inside / "base.toml").symlink_to("../outside.toml")
    path = write(inside, 'extends = "base.toml"\nname = "x"\n')
    assert refused(path) == ['1:1: extends: "base.toml" is a link that leads out of DIRECTORY']


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b'name = "a\0b"\n', "1:10: illegal character '\\x00'", id="nul"),
        pytest.param(b'name = "x"\nversion = "\xff"\n', "2:12: not UTF-8 text: byte 0xff", id="not-utf-8"),
        pytest.param(b"#" * (MAX_BYTES + 1), "1:1: larger than 128 KiB: this is no recipe", id="huge"),
        pytest.param(
            b"x = " + b"[" * 5000 + b"]" * 5000, f"1:37: {DEEP}", id="lists"
        ),
        pytest.param(b"x = " + b"{a=" * 5000, f"1:101: {DEEP}", id="tables"),
        pytest.param(
            b"a." * 20000 + b"a = 1", f"1:1: {DEEP}", id="dotted-key"
        ),
        pytest.param(
            b'"a".' * 20000 + b"a = 1", f"1:1: {DEEP}", id="quoted-dotted-key"
        ),
        pytest.param(
            b"[" + b"a." * 40 + b"a]\nb = 1", f"1:2: {DEEP}", id="header"
        ),
        pytest.param(b"x = " + b"9" * 9000, "1:5: this number is too long", id="number"),
        pytest.param("\ufeffa = 1".encode(), "1:1: this is neither a [table] nor key = value", id="byte-order-mark"),
        pytest.param(b"\r\n\r\nn = 2\r\nn = 3", "4:6: this key has a value already", id="crlf"),
        pytest.param(b"'", "1:2: expected \"'\"", id="quote"),
        pytest.param(b"[a]\n[ a ]", "2:5: [a] stands here twice", id="table-twice"),
    ],
)  # fmt: skip
def test_hostile_text(tmp_path: Path, content: bytes, expected: str) -> None:
    assert refused(write(tmp_path, content)) == [expected]


def test_hostile_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert refused(tmp_path / "pipe.toml") == ["1:1: not a regular file"]
    assert refused(tmp_path / "none.toml") == ["1:1: cannot be read: No such file or directory"]
    (tmp_path / "quickstart.toml").touch()
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "quickstat.toml")
    assert caught.value.hint == f"did you mean {tmp_path / 'quickstart.toml'}?"
    (tmp_path / "directory.toml").mkdir()
    assert refused(tmp_path / "directory.toml") == ["1:1: not a regular file"]
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    assert refused(tmp_path / "loop.toml") == ["1:1: cannot be read: Too many levels of symbolic links"]
    assert refused(Path("/dev/zero")) == ["1:1: not a regular file"]


def test_findings_end(tmp_path: Path) -> None:
    """Thousands of mistakes are neither looked up nor told one by one."""
    types = ", ".join(f'"m{index}.x"' for index in range(2000))
    lines = refused(write(tmp_path, SMALL.replace("\n", f"\ninstance_types = [{types}]\n", 1)))
    assert len(lines) == MAX_FINDINGS
    assert lines[0].startswith('2:19: instance_types[0]: "m0.x" is not an instance type')
    unknown = "".join(f"a{index} = 1\n" for index in range(2000))
    assert len(refused(write(tmp_path, unknown + SMALL))) == MAX_FINDINGS


def test_a_dotted_text_is_no_key(tmp_path: Path) -> None:
    long = "a." * 200
    loaded = load_recipe(write(tmp_path, f'description = "{long[:250]}" # {long}\n{SMALL}'))
    assert loaded.recipe.description == long[:250]


def test_kernels_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    shutil.copy(KERNELS / "quickstart.toml", tmp_path / "kernels/own.toml")
    path = write(tmp_path, SMALL.replace('kernel = "quickstart"', 'kernel = "own"'))
    assert load_recipe(path).kernel.name == "own"
    (tmp_path / "kernels/own.toml").write_text('initrd = "x"\nmodulse = []\n')
    why = 'DIRECTORY/kernels/own.toml:1:1: initrd: "x" is not one of initramfs-tools, dracut, inside'
    assert refused(path) == [f'2:1: kernel: "own" cannot be used: {why}']


def said(path: Path) -> None:
    """Either a recipe, or findings that each begin with a place: in the recipe, or in a part of ours that it takes."""
    try:
        load_recipe(path)
    except RecipeError as error:
        for line in (error.brief, *error.detail.splitlines()):
            file, row, column, rest = line.split(":", 3)
            assert Path(file).parent in (path.parent, ROOT / "recipes", ROOT / "recipes/parts"), line
            assert int(row) >= 1
            assert int(column) >= 1
            assert rest.startswith(" ")
            assert all(character.isprintable() for character in line), line


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
KEYS = st.sampled_from(
    [
        "name",
        "extends",
        "include",
        "kernel",
        "files",
        "users",
        "register",
        "image",
        "distribution",
        "instance_types",
        "when",
        "if",
        "architecture",
        "add",
        "remove",
        "units",
        "timers",
        "overlays",
        "sysctl",
        "name",
        "packages",
        "a b",
        "",
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(), st.datetimes(),
        st.sampled_from(["m1.small", "pv", "2GiB", "{{ x }}", "{% for %}", "../x", "base.toml", "\0"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@FUZZ
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    said(write(tmp_path, content))


@FUZZ
@given(content=st.text(alphabet=string.ascii_lowercase[:4] + "[]{}.,=\"'\n #1-+_:TZ\\", max_size=80))
def test_any_toml_like_text(tmp_path: Path, content: str) -> None:
    said(write(tmp_path, content))


@FUZZ
@given(data=st.data())
def test_changed_recipes(tmp_path: Path, data: st.DataObject) -> None:
    """A good recipe with a piece cut out, doubled, moved or replaced."""
    text = data.draw(st.sampled_from([path.read_text() for path in GOOD]))
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 60)))
        at = data.draw(st.integers(0, len(text)))
        put = data.draw(st.sampled_from(["", text[begin:end], '"', "[", "]", "\n", "= 1", "[[files]]\n", "{{", "\x7f"]))
        text = data.draw(st.sampled_from([text[:begin] + text[end:], text[:at] + put + text[at:]]))
    said(write(tmp_path, text))


@FUZZ
@given(table=st.dictionaries(KEYS | st.sampled_from(["ssh", "scripts", "services", "network"]), VALUES, max_size=6))
@example(table={"units": [{"name": ["a"]}, {"name": {}}], "timers": [{"name": []}, {}]})
def test_any_values(tmp_path: Path, table: dict[str, Any]) -> None:
    """Right TOML, wrong recipe: values of every type at every key."""
    write(tmp_path, SMALL, "base.toml")
    said(write(tmp_path, "".join(f"{toml(name)} = {toml(value)}\n" for name, value in table.items())))


def toml(value: Any) -> str:
    match value:
        case None:
            return '""'
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
        case list():
            return f"[{', '.join(toml(each) for each in value)}]"
        case dict():
            return "{" + ", ".join(f"{toml(name)} = {toml(inner)}" for name, inner in value.items()) + "}"
    return str(value).replace(" ", "T")
