"""The customise stage on trees that are real, and on trees that mean harm."""

import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.stages.customise.spec import CustomiseSpec, File, Script, User
from tests.support.layers import EPOCH, directory, file, link, write_layer
from tests.support.rpms import sha256

pytestmark = pytest.mark.host
Stage = Callable[..., Any]


def tree() -> list[Any]:
    return [
        directory("etc"),
        directory("etc/skel"),
        file("etc/skel/.profile", "alias"),
        link("etc/skel/link", "/etc/passwd"),
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nfirst:x:1000:1000::/:/bin/sh\n"),
        file("etc/group", "root:x:0:\nfirst:x:1000:\nwheel:x:10:first\n"),
        file("etc/shadow", "root:*:19000:0:99999:7:::\n", mode=0o640, gid=42),
        file("etc/gshadow", "root:*::\nwheel:*::first\n", mode=0o640, gid=42),
        directory("usr"),
        directory("usr/bin"),
        file("usr/bin/sudo", "", mode=0o4755),
        file("usr/bin/sh", "", mode=0o755),
        link("bin", "usr/bin"),
        directory("home"),
    ]


def members(place: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(place / "output/layer.tar") as layer:
        return {member.name: member for member in layer.getmembers()}


def read(place: Path, name: str) -> str:
    with tarfile.open(place / "output/layer.tar") as layer:
        found = layer.extractfile(name)
        assert found
        return found.read().decode()


def spec(**given: Any) -> CustomiseSpec:
    return CustomiseSpec(**{"source_epoch": EPOCH, **given})


def a_file(destination: str, text: str | None = "text", **other: Any) -> File:
    given = {"owner": "root", "group": "root", "mode": 0o644, "sha256": "", **other}
    return File(destination=destination, text=text, **given)


def test_users(stage: Stage, trees: Path) -> None:
    layers = [write_layer(trees / "packages", "packages", tree())]
    users = (
        User(name="web", groups=("wheel", "made"), shell="/bin/sh", sudo=True),
        User(name="db", uid=990, home="/srv/db", shell="/usr/bin/sh"),
    )
    stage("customise.run", spec(users=users), place=trees / "run", inputs=layers)
    place, found = trees / "run", members(trees / "run")
    assert read(place, "etc/passwd").splitlines()[2:] == [
        "web:x:1001:1001::/home/web:/bin/sh",
        "db:x:990:990::/srv/db:/usr/bin/sh",
    ]
    assert read(place, "etc/group").splitlines()[2:] == [
        "wheel:x:10:first,web",
        "web:x:1001:",
        "made:x:1002:web",
        "db:x:990:",
    ]
    days = EPOCH // 86400
    assert read(place, "etc/shadow").splitlines()[1:] == [f"web:*:{days}:0:99999:7:::", f"db:*:{days}:0:99999:7:::"]
    assert read(place, "etc/gshadow").splitlines()[1:] == ["wheel:*::first,web", "web:!::", "made:!::web", "db:!::"]
    shown = {name: (each.mode, each.uid, each.gid) for name, each in found.items() if not each.name.startswith("usr")}
    assert shown == {
        ".": (0o755, 0, 0),
        "etc": (0o755, 0, 0),
        "etc/group": (0o644, 0, 0),
        "etc/gshadow": (0o640, 0, 42),
        "etc/passwd": (0o644, 0, 0),
        "etc/shadow": (0o640, 0, 42),
        "etc/sudoers.d": (0o755, 0, 0),
        "etc/sudoers.d/90-ami-factory-web": (0o440, 0, 0),
        "home": (0o755, 0, 0),
        "home/web": (0o700, 1001, 1001),
        "home/web/.profile": (0o644, 1001, 1001),
        "home/web/link": (0o777, 1001, 1001),
        "srv": (0o755, 0, 0),
        "srv/db": (0o700, 990, 990),
        "srv/db/.profile": (0o644, 990, 990),
        "srv/db/link": (0o777, 990, 990),
    }


@pytest.mark.parametrize(
    ("user", "brief"),
    [
        pytest.param(User(name="root"), "users.root: the installed packages have a user of that name", id="name taken"),
        pytest.param(
            User(name="a", uid=1000, shell="/bin/sh"), "users.a.uid: 1000 is the number of first", id="uid taken"
        ),
        pytest.param(User(name="a", shell="/bin/zsh"), "users.a.shell: /bin/zsh is not in the image", id="no shell"),
        pytest.param(User(name="a", shell="/bin/sh", home="/h:x"), "users.a.home", id="colon"),
        pytest.param(User(name="a", shell="/bin/sh", home="/h\nroot2:x:0:0::/:/bin/sh"), "users.a.home", id="new line"),
    ],
)
def test_users_that_are_refused(stage: Stage, trees: Path, user: User, brief: str) -> None:
    layers = [write_layer(trees / "packages", "packages", tree())]
    if user.name == "root":
        user = User(name="root", shell="/bin/sh")
    with pytest.raises(BuilderError) as error:
        stage("customise.run", spec(users=(user,)), place=trees / "run", inputs=layers)
    assert brief in error.value.brief
    assert error.value.exit == 2


def test_files(stage: Stage, trees: Path) -> None:
    source = trees / "page.html"
    source.write_bytes(b"\xff\0page")
    layers = [write_layer(trees / "packages", "packages", tree())]
    files = (
        a_file("/srv/www/index.html", None, sha256=sha256(source), owner="first", group="wheel", mode=0o4750),
        a_file("/etc/passwd", "replaced"),
    )
    given = spec(files=files)
    stage("customise.run", given, place=trees / "run", inputs=layers, sources={sha256(source): str(source)})
    page = members(trees / "run")["srv/www/index.html"]
    assert (page.mode, page.uid, page.gid, page.size) == (0o4750, 1000, 10, 6)
    assert members(trees / "run")["srv/www"].mode == 0o755
    assert read(trees / "run", "etc/passwd") == "replaced"


def test_a_source_that_changed(stage: Stage, trees: Path) -> None:
    source = trees / "page.html"
    source.write_text("then")
    digest = sha256(source)
    source.write_text("now")
    layers = [write_layer(trees / "packages", "packages", tree())]
    given = spec(files=(a_file("/page", None, sha256=digest),))
    with pytest.raises(BuilderError, match=r"page\.html changed"):
        stage("customise.run", given, place=trees / "run", inputs=layers, sources={digest: str(source)})


@pytest.mark.parametrize(
    ("entries", "destination", "lands"),
    [
        pytest.param([link("way", "{host}")], "/way/out", "{host}/out", id="absolute link to a directory of the host"),
        pytest.param([link("out", "{host}/out")], "/out", "out", id="absolute link at the end is replaced"),
        pytest.param(
            [directory("a"), link("a/up", "../../../../..{host}")], "/a/up/out", "{host}/out", id="climbing link"
        ),
        pytest.param([link("one", "two"), link("two", "{host}")], "/one/out", "{host}/out", id="chain of links"),
    ],
)
def test_no_write_lands_on_the_host(
    stage: Stage, trees: Path, entries: list[Any], destination: str, lands: str
) -> None:
    """The guest's own idea of an absolute link is followed: below its root, never this machine's."""
    host = trees / "host"
    host.mkdir(mode=0o777)
    filled = [link(e.path.decode(), e.target.decode().format(host=host)) if e.target else (e, d) for e, d in entries]
    layers = [write_layer(trees / "packages", "packages", [*tree(), *filled])]
    stage("customise.run", spec(files=(a_file(destination),)), place=trees / "run", inputs=layers)
    assert list(host.iterdir()) == []
    assert lands.format(host=host).lstrip("/") in members(trees / "run")


@pytest.mark.parametrize(
    ("given", "brief"),
    [
        pytest.param(a_file("/etc"), "/etc: is a directory", id="a directory"),
        pytest.param(a_file("/etc/passwd/x"), "/etc/passwd/x: something on the way is a file", id="below a file"),
        pytest.param(a_file("/loop/x"), "a loop of symbolic links", id="a loop"),
        pytest.param(a_file("/x", owner="nobody-knows"), "owner nobody-knows does not exist", id="unknown owner"),
        pytest.param(a_file("/x", group="nobody-knows"), "group nobody-knows does not exist", id="unknown group"),
    ],
)
def test_files_that_are_refused(stage: Stage, trees: Path, given: File, brief: str) -> None:
    layers = [write_layer(trees / "packages", "packages", [*tree(), link("loop", "loop")])]
    with pytest.raises(BuilderError) as error:
        stage("customise.run", spec(files=(given,)), place=trees / "run", inputs=layers)
    assert brief in error.value.brief


def runnable() -> list[Any]:
    """The tree with a shell, rm and mkdir: this machine's own, and the libraries that they need."""
    programs = {"usr/bin/sh": "/bin/sh", "usr/bin/rm": "/bin/rm", "usr/bin/mkdir": "/bin/mkdir"}
    listed = subprocess.run(["ldd", *programs.values()], capture_output=True, text=True, check=True).stdout
    libraries = {each.lstrip("/"): each for each in re.findall(r"(/\S+\.so\S*)", listed)}
    entries = [entry for entry in tree() if entry[0].path != b"usr/bin/sh"]
    parents = {str(parent) for name in libraries for parent in Path(name).parents if str(parent) != "."}
    return [
        *entries,
        *(directory(parent) for parent in sorted(parents)),
        *(file(name, Path(path).read_bytes(), mode=0o755) for name, path in {**programs, **libraries}.items()),
    ]


def test_a_script(stage: Stage, trees: Path) -> None:
    layers = [write_layer(trees / "packages", "packages", runnable())]
    text = 'echo "$GREETING $SOURCE_DATE_EPOCH" > /etc/motd\nrm /etc/group\nmkdir /tmp/x /run/y /srv\n'
    script = Script(name="greet", text=text, environment=(("GREETING", "hello"),))
    first = stage("customise.run", spec(script=script), place=trees / "run", inputs=layers)
    second = stage("customise.run", spec(script=script), place=trees / "again", inputs=layers)
    assert first == second
    assert read(trees / "run", "etc/motd") == f"hello {EPOCH}\n"
    assert sorted(members(trees / "run")) == [".", "etc", "etc/.wh.group", "etc/motd", "srv"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("exit 7\n", 7, id="exit code"),
        pytest.param("false\necho not reached\n", 1, id="stops at the first failure"),
        pytest.param('echo "$UNSET"\n', 2, id="unset variable"),
        pytest.param("no-such-program\n", 127, id="no such program"),
        pytest.param("#!/bin/sh\nexit 9\n", 9, id="its own interpreter"),
        pytest.param("read v < /proc/sys/vm/swappiness; echo $v > /proc/sys/vm/swappiness\n", 1, id="a host setting"),
    ],
)
def test_a_script_that_fails(stage: Stage, trees: Path, text: str, code: int) -> None:
    layers = [write_layer(trees / "packages", "packages", runnable())]
    with pytest.raises(BuilderError, match=f"script greet failed with exit code {code}"):
        stage("customise.run", spec(script=Script(name="greet", text=text)), place=trees / "run", inputs=layers)
    assert not (trees / "run/output/layer.tar").exists()


def test_a_script_without_its_interpreter(stage: Stage, trees: Path) -> None:
    layers = [write_layer(trees / "packages", "packages", runnable())]
    script = Script(name="greet", text="#! /usr/bin/python3 -u\nprint()\n")
    with pytest.raises(BuilderError, match="script greet: /usr/bin/python3, which its first line names, is not in"):
        stage("customise.run", spec(script=script), place=trees / "run", inputs=layers)
