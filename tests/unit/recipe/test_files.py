import hashlib
import os
from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.recipe.files import Collected, collect, find_source, script_text
from builder.recipe.load import Loaded, load_recipe
from builder.stages.customise.spec import File

SMALL = (Path(__file__).parents[3] / "tests/fixtures/recipes/good-small.toml").read_text()
VARIABLES = {"name": "web"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The recipe's own directory."""
    (tmp_path / "web").mkdir()
    return tmp_path / "web"


def loaded(own: Path, text: str) -> Loaded:
    path = own.with_suffix(".toml")
    path.write_text(f"{SMALL}\n{text}")
    return load_recipe(path)


def refused(own: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        collect(loaded(own, text), VARIABLES)
    return caught.value.brief.replace(f"{own.parent}/", "")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(destination: str, content: bytes, *, mode: int = 0o644, text: bool = False) -> File:
    return File(
        destination=destination,
        owner="root",
        group="root",
        mode=mode,
        sha256=sha256(content),
        text=content.decode() if text else None,
    )


def test_collect(own: Path) -> None:
    (own / "tree/b").mkdir(parents=True)
    (own / "tree/b/two").write_bytes(b"\xff\0")
    (own / "tree/a").write_text("one")
    (own / "tree/c").symlink_to("a")
    (own / "tool").write_text("#!/bin/sh\n")
    (own / "tool").chmod(0o755)
    (own / "motd").write_text("I am {{ name }}\n")
    recipe = loaded(
        own,
        '[[files]]\ndestination = "/etc/tree"\nsource = "tree"\n'
        '[[files]]\ndestination = "/usr/bin/tool"\nsource = "tool"\n'
        '[[files]]\ndestination = "/etc/motd"\nsource = "motd"\ntemplate = true\nmode = "0600"\n'
        '[[files]]\ndestination = "/etc/plain"\ncontent = "{{ name }}"\n',
    )
    assert collect(recipe, VARIABLES) == Collected(
        files=(
            entry("/etc/tree/a", b"one"),
            entry("/etc/tree/b/two", b"\xff\0"),
            entry("/etc/tree/c", b"one"),
            entry("/usr/bin/tool", b"#!/bin/sh\n", mode=0o755),
            entry("/etc/motd", b"I am web\n", mode=0o600, text=True),
            entry("/etc/plain", b"{{ name }}", text=True),
        ),
        sources={
            sha256(b"one"): str(own / "tree/c"),
            sha256(b"\xff\0"): str(own / "tree/b/two"),
            sha256(b"#!/bin/sh\n"): str(own / "tool"),
        },
    )


ONE = '[[files]]\ndestination = "/etc/x"\nsource = "x"\n'


def test_missing(own: Path) -> None:
    """Said when loading, with its place; and when the file goes away after that."""
    assert refused(own, ONE) == 'web.toml:13:1: files[0].source: there is no "x" in web'
    script = '[[scripts]]\nsource = "no.sh"\n'
    assert refused(own, script) == 'web.toml:12:1: scripts[0].source: there is no "no.sh" in web'
    (own / "x").write_text("")
    recipe = loaded(own, ONE)
    (own / "x").unlink()
    with pytest.raises(RecipeError, match=r'files\[0\]\.source: there is no "x" in'):
        collect(recipe, VARIABLES)


def test_a_link_out(own: Path) -> None:
    (own.parent / "secret").write_text("s")
    (own / "x").symlink_to("../secret")
    assert refused(own, ONE) == "web.toml: files[0].source: web/x is a link that leads out of web"
    (own / "x").unlink()
    (own / "x").mkdir()
    (own / "x/deep").symlink_to("/etc/passwd")
    assert refused(own, ONE) == "web.toml: files[0].source: web/x/deep is a link that leads out of web/x"


def test_links_that_are_no_files(own: Path) -> None:
    (own / "x").mkdir()
    (own / "x/a").symlink_to("nothing")
    assert refused(own, ONE) == "web.toml: files[0].source: web/x/a is a link that leads nowhere"
    (own / "x/a").unlink()
    (own / "x/a").symlink_to(".")
    assert refused(own, ONE).startswith("web.toml: files[0].source: web/x/a is a link to a directory")
    (own / "x/a").unlink()
    (own / "x/a").symlink_to("a")
    assert refused(own, ONE) == "web.toml: files[0].source: web/x/a is a link that leads nowhere"


def test_a_pipe_is_not_waited_for(own: Path) -> None:
    os.mkfifo(own / "x")
    assert refused(own, ONE) == "web.toml: files[0].source: web/x is not a regular file"
    assert refused(own, ONE + "template = true\n") == "web.toml: files[0].source: web/x is not a regular file"


def test_binary_template(own: Path) -> None:
    (own / "x").write_bytes(b"a\nb\xff")
    assert refused(own, ONE + "template = true\n") == "web/x:2: not UTF-8 text"


def test_huge_template(own: Path) -> None:
    (own / "x").write_bytes(b"a" * (1024**2 + 1))
    assert refused(own, ONE + "template = true\n") == (
        "web.toml: files[0].source: web/x is larger than 1024 KiB, too large for a text"
    )


def test_a_bad_template_names_its_line(own: Path) -> None:
    (own / "x").write_text("a\n{{ nobody }}\n")
    assert refused(own, ONE + "template = true\n") == "web/x:2: template: 'nobody' is undefined"
    content = '[[files]]\ndestination = "/etc/x"\ncontent = "\\n\\n{{ 1/0 }}"\ntemplate = true\n'
    assert refused(own, content) == "web.toml: files[0].content:3: template: division by zero"


def test_two_files_in_one_place(own: Path) -> None:
    (own / "x").mkdir()
    (own / "x/a").write_text("")
    twice = ONE + '[[files]]\ndestination = "/etc/x/a"\ncontent = ""\n'
    assert refused(own, twice) == "web.toml: files[1]: /etc/x/a is also put there by files[0]"
    below = ONE + '[[files]]\ndestination = "/etc/x/a/b"\ncontent = ""\n'
    assert refused(own, below) == "web.toml: files[1]: /etc/x/a/b lies below /etc/x/a, which is a file"


def test_a_name_with_a_newline(own: Path) -> None:
    (own / "x").mkdir()
    (own / "x/a\nb").write_text("")
    assert refused(own, ONE) == (
        "web.toml: files[0].source: a file name below web/x holds characters that cannot be printed"
    )


def test_sources_of_an_extended_recipe(own: Path) -> None:
    (own / "x").write_text("base")
    (own / "y").write_text("base")
    loaded(own, ONE + '[[files]]\ndestination = "/etc/y"\nsource = "y"\n')
    child = own.parent / "child.toml"
    child.write_text('extends = "web.toml"\nname = "child"\n')
    (own.parent / "child").mkdir()
    (own.parent / "child/x").write_text("child's")
    recipe = load_recipe(child)
    assert find_source(recipe, "x", "") == own.parent / "child/x"
    assert find_source(recipe, "y", "") == own / "y"
    assert [file.sha256 for file in collect(recipe, {}).files] == [sha256(b"child's"), sha256(b"base")]


def test_script_text(own: Path) -> None:
    (own / "do.sh").write_text("#!/bin/sh\n")
    recipe = loaded(own, '[[scripts]]\nrun = "true"\n[[scripts]]\nsource = "do.sh"\n')
    assert script_text(recipe, 0) == "true"
    assert script_text(recipe, 1) == "#!/bin/sh\n"
