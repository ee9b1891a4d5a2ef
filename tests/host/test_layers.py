"""Layers with real trees: what is packed comes back equal, whiteouts work, hostile trees and layers do no harm."""

# ruff: noqa: PTH115, PTH118, PTH211

import hashlib
import io
import os
import socket
import stat
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.formats import layer_tar
from builder.host import layers
from builder.host.overlay import mounted, require_overlay
from builder.stages.contract import Input, StageContext, Surroundings

pytestmark = pytest.mark.host
EPOCH = 1_700_000_000


def context_in(place: Path, name: str, inputs: tuple[Input, ...] = (), notes: list[str] | None = None) -> StageContext:
    base = place / name
    for each in ("output", "scratch", "state", "cache"):
        (base / each).mkdir(parents=True)
    return StageContext(
        key="0" * 64,
        inputs=inputs,
        output=base / "output",
        scratch=base / "scratch",
        surroundings=Surroundings(state=base / "state", cache=base / "cache", trees=place / "trees"),
        progress=lambda what, done, total, unit="bytes": None,
        note=(notes if notes is not None else []).append,
    )


def snapshot(tree: Path) -> dict[str, list[Any]]:
    """Everything that a layer must keep, by path."""
    found = {}
    root = os.fsencode(tree)
    links: dict[int, str] = {}
    for directory, names, files in os.walk(root):
        for name in [b".", *names, *files]:
            place = os.path.normpath(os.path.join(directory, name))
            if name == b"." and directory != root:
                continue
            status = os.lstat(place)
            path = os.path.relpath(place, root).decode(errors="backslashreplace")
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(os.fsdecode(place)).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = repr(os.readlink(place))
            marks = {
                n: os.getxattr(place, n, follow_symlinks=False).hex()
                for n in os.listxattr(place, follow_symlinks=False)
            }
            first = links.setdefault(status.st_ino, path) if stat.S_ISREG(status.st_mode) else ""
            found[path] = [status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content, marks, first]
    return found


def fill_hostile(tree: Path) -> None:
    """Everything that a script may leave in a tree."""
    root = os.fsencode(tree)
    (tree / "plain").write_text("text")
    (tree / "empty").touch()
    (tree / "dir").mkdir()
    (tree / "dir-").write_text("sorts between dir and dir/")
    (tree / "dir" / "inner").write_bytes(os.urandom(3_000_000))
    os.chown(tree / "dir", 0, 42)
    (tree / "dir").chmod(0o2750)
    os.chown(tree / "plain", 1000, 65530)
    (tree / "plain").chmod(0o4755)
    os.setxattr(tree / "plain", "user.note", b"a\nb=c\0d")
    Path(os.fsdecode(root + b"/new\nline\t\x01")).write_text("newline")
    Path(os.fsdecode(root + b"/latin\xff\xfe1")).write_text("not UTF-8")
    (tree / "grüße").symlink_to("/absolute/" + "long/" * 60)
    deep = tree / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / ("f" * 255)).write_text("long")
    os.link(tree / "plain", tree / "other name")
    os.symlink(b"to\xff", root + b"/raw link")
    os.mkfifo(tree / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))
    subprocess.run(["setcap", "cap_net_raw+ep", str(tree / "dir" / "inner")], check=True)
    os.utime(tree / "plain", ns=(1, 1_234_567_890_987_654_321))
    os.utime(tree / "empty", ns=(1, -5))


def body_round_trip(place: str) -> dict[str, Any]:
    base = Path(place)
    results, notes = [], []
    for name in ("one", "two"):
        context = context_in(base, name, notes=notes)
        with layers.root_tree(context, writable=True) as tree:
            assert tree.upper
            fill_hostile(tree.path)
            if name == "two":
                (tree.path / "dir" / "inner").write_bytes(
                    (base / "trees" / results[0]["digest"] / "dir/inner").read_bytes()
                )
                subprocess.run(["setcap", "cap_net_raw+ep", str(tree.path / "dir" / "inner")], check=True)
        results.append(layers.commit_layer(context, tree.upper, EPOCH))
        assert not tree.upper.exists()
    kept = base / "trees" / results[0]["digest"]
    again = base / "again"
    again.mkdir()
    with (base / "one/output/layer.tar").open("rb") as file:
        layers.unpack(file, again)
    caps = subprocess.run(["getcap", str(again / "dir/inner")], capture_output=True, text=True, check=True).stdout
    return {"results": results, "kept": snapshot(kept), "again": snapshot(again), "notes": notes, "caps": caps[-20:]}


def test_a_hostile_tree_comes_back_equal(inside: Callable[..., Any], trees: Path) -> None:
    found = inside(body_round_trip, place=trees)
    first, second = found["results"]
    assert first == second
    assert found["kept"] == found["again"]
    assert first["digest"] == first["digests"]["layer.tar"]
    packed = trees / "one/output/layer.tar"
    assert hashlib.sha256(packed.read_bytes()).hexdigest() == first["digest"]
    assert packed.stat().st_size == first["size"]
    assert found["notes"] == ["/socket: a socket, left out of the layer"] * 2
    assert found["caps"].strip().endswith("cap_net_raw=ep")
    assert found["kept"]["plain"][:4] == [0o104755, 1000, 65530, 1_234_567_890 * 10**9]
    assert found["kept"]["empty"][3] == 0
    assert found["kept"]["dir"][:4] == [0o42750, 0, 42, EPOCH * 10**9]
    assert found["kept"]["other name"][6] == found["kept"]["plain"][6]


def test_other_programs_read_the_layer(inside: Callable[..., Any], trees: Path) -> None:
    inside(body_round_trip, place=trees)
    with tarfile.open(trees / "one/output/layer.tar") as packed:
        names = packed.getnames()
        assert packed.getmember("plain").islnk()
        assert packed.getmember("plain").linkname == "other name"
        assert packed.getmember("grüße").linkname == "/absolute/" + "long/" * 60
    assert "/".join(("d" * 200, "e" * 200, "f" * 255)) in names
    listed = subprocess.run(["tar", "tf", str(trees / "one/output/layer.tar")], capture_output=True, check=False)
    assert listed.returncode == 0
    assert b"latin\\377\\3761" in listed.stdout


def body_whiteouts(place: str) -> dict[str, Any]:
    base = Path(place)
    inputs: tuple[Input, ...] = ()

    def step(name: str, change: Callable[[Path], None]) -> None:
        nonlocal inputs
        context = context_in(base, name, inputs)
        with layers.root_tree(context, writable=True) as tree:
            assert tree.upper
            change(tree.path)
        result = layers.commit_layer(context, tree.upper, EPOCH)
        inputs = (*inputs, Input(name=name, path=context.output, result=result))

    def first(tree: Path) -> None:
        for name in ("kept", "gone", "renamed", "replaced"):
            (tree / name).mkdir()
            (tree / name / "file").write_text(name)
        (tree / "plain").write_text("plain")
        os.link(tree / "plain", tree / "second name")

    def second(tree: Path) -> None:
        subprocess.run(["rm", "-r", str(tree / "gone"), str(tree / "replaced")], check=True)
        (tree / "replaced").mkdir()
        (tree / "replaced" / "new").write_text("new")
        subprocess.run(["mv", str(tree / "renamed"), str(tree / "moved")], check=True)
        (tree / "plain").write_text("changed")
        (tree / "second name").unlink()

    def third(tree: Path) -> None:
        (tree / "gone").mkdir()

    merged = []
    for name, change in (("first", first), ("second", second), ("third", third)):
        step(name, change)
        with layers.root_tree(context_in(base, name + "-look", inputs), writable=False) as tree:
            kept = snapshot(tree.path)
            assert tree.upper is None
            assert os.statvfs(tree.path).f_flag & os.ST_RDONLY
        layers.forget_trees(base / "trees")
        assert not list((base / "trees").iterdir())
        with layers.root_tree(context_in(base, name + "-again", inputs), writable=False) as tree:
            assert snapshot(tree.path) == kept
        merged.append(sorted(kept))
    with tarfile.open(base / "second/output/layer.tar") as packed:
        return {"merged": merged, "names": packed.getnames()}


def test_deleted_replaced_and_renamed_directories(inside: Callable[..., Any], trees: Path) -> None:
    found = inside(body_whiteouts, place=trees)
    assert found["merged"][0] == sorted(
        [".", "gone", "gone/file", "kept", "kept/file", "plain", "renamed", "renamed/file", "replaced",
         "replaced/file", "second name"]
    )  # fmt: skip
    after = [".", "kept", "kept/file", "moved", "moved/file", "plain", "replaced", "replaced/new"]
    assert found["merged"][1] == after
    assert found["merged"][2] == sorted([*after, "gone"])
    assert found["names"] == [
        ".", ".wh.gone", ".wh.renamed", ".wh.second name", "moved", "moved/file", "plain",
        "replaced", "replaced/.wh..wh..opq", "replaced/new",
    ]  # fmt: skip


def body_many(place: str, count: int) -> list[int]:
    base = Path(place)
    lower = []
    for index in range(count):
        each = base / ("a-rather-long-name-of-a-layer" * 4) / str(index)
        each.mkdir(parents=True)
        (each / str(index)).touch()
        (each / "top").write_text(str(index))
        lower.append(each)
    found = []
    for name, writable in (("read", False), ("write", True)):
        upper, work, target = (base / f"{name}-{part}" for part in ("upper", "work", "target"))
        for each in (upper, work, target):
            each.mkdir()
        changes = {"upper": upper, "work": work} if writable else {"upper": None, "work": None}
        with mounted(lower, target=target, **changes) as tree:
            found += [len(list(tree.iterdir())), int((tree / "top").read_text())]
        found.append(len(list(target.iterdir())))
    require_overlay(base)
    return found


@pytest.mark.parametrize("count", [1, 2, 100])
def test_up_to_a_hundred_layers(inside: Callable[..., Any], trees: Path, count: int) -> None:
    assert inside(body_many, place=trees, count=count) == [count + 1, count - 1, 0] * 2


def body_unpack(place: str, packed: str) -> None:
    target = Path(place, "target")
    target.mkdir()
    layers.unpack(io.BytesIO(bytes.fromhex(packed)), target)


def layer_of(*entries: layer_tar.Entry, end: bytes = layer_tar.END) -> bytes:
    sink = io.BytesIO()
    for entry in entries:
        layer_tar.write_header(entry, sink)
        sink.write(bytes(entry.size) + layer_tar.padding(entry.size))
    return sink.getvalue() + end


def file(path: bytes, **other: Any) -> layer_tar.Entry:
    return layer_tar.Entry(**{"path": path, "kind": layer_tar.Kind.FILE, "mode": 0o644, **other})


ROOT = layer_tar.Entry(path=b"", kind=layer_tar.Kind.DIRECTORY, mode=0o755)


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        pytest.param(layer_of(file(b"../out")), "not a path below the root", id="climbs out"),
        pytest.param(layer_of(file(b"/etc/out")), "not a path below the root", id="absolute"),
        pytest.param(layer_of(file(b"a/../../out")), "not a path below the root", id="climbs out later"),
        pytest.param(
            layer_of(ROOT, file(b"l", kind=layer_tar.Kind.SYMLINK, target=b"/tmp"), file(b"l/out")),
            "no directory to be in",
            id="through a link",
        ),
        pytest.param(
            layer_of(file(b"a", kind=layer_tar.Kind.HARD_LINK, target=b"/etc/passwd")), "not there", id="host link"
        ),
        pytest.param(layer_of(file(b"b"), file(b"a")), "sorted", id="unsorted"),
        pytest.param(layer_of(file(b"a"), file(b"a")), "sorted", id="twice"),
        pytest.param(
            layer_of(ROOT, file(b".wh.a"), file(b"a")),
            "File exists",
            id="there and not there",
        ),
        pytest.param(layer_of(file(b".wh...")), "whiteout of", id="whiteout of the parent"),
        pytest.param(layer_of(file(b"a", xattrs={"user.overlay.redirect": b"/"})), "has the attribute", id="redirect"),
        pytest.param(layer_of(file(b"a", xattrs={"trusted.x": b""})), "has the attribute", id="foreign attribute"),
        pytest.param(layer_of(file(b"a", size=5))[:-1024], "ends early", id="cut"),
        pytest.param(layer_of(file(b"a"), end=b""), "ends early", id="no end"),
        pytest.param(layer_of(file(b"a"), end=layer_tar.END + b"x"), "two blocks of zeros", id="more after the end"),
        pytest.param(layer_of(file(b"a")).replace(b"ustar\x0000", b"ustar  \0"), "canonical form", id="GNU tar"),
        pytest.param(layer_of(file(b"a")).replace(b"0000644", b"0100644"), "canonical form", id="odd mode"),
        pytest.param(b"", "ends early", id="empty"),
        pytest.param(b"\x1f\x8b" + bytes(2000), "", id="gzip"),
    ],
)
def test_a_hostile_layer_is_refused(inside: Callable[..., Any], trees: Path, packed: bytes, why: str) -> None:
    with pytest.raises(BuilderError, match="cannot be unpacked") as error:
        inside(body_unpack, place=trees, packed=packed.hex())
    assert why in error.value.brief
    assert not Path("/tmp/out").exists()


def body_damaged(place: str) -> None:
    base = Path(place)
    context = context_in(base, "one")
    with layers.root_tree(context, writable=True) as tree:
        assert tree.upper
        (tree.path / "file").write_text("a" * 600)
    result = layers.commit_layer(context, tree.upper, EPOCH)
    layers.forget_trees(base / "trees")
    packed = context.output / "layer.tar"
    packed.write_bytes(packed.read_bytes().replace(b"aaaa", b"aaab", 1))
    with layers.root_tree(
        context_in(base, "two", (Input(name="one", path=context.output, result=result),)), writable=False
    ):
        pass


def test_a_damaged_layer_is_noticed(inside: Callable[..., Any], trees: Path) -> None:
    with pytest.raises(BuilderError, match="is damaged"):
        inside(body_damaged, place=trees)
    assert not list((trees / "trees").iterdir())


def body_in_use(place: str) -> list[Any]:
    base = Path(place)
    context = context_in(base, "one")
    with layers.root_tree(context, writable=True) as tree:
        assert tree.upper
        (tree.path / "file").write_text("a")
    result = layers.commit_layer(context, tree.upper, EPOCH)
    inputs = (Input(name="one", path=context.output, result=result),)
    (base / "trees" / "partial-left-behind").mkdir()
    with layers.root_tree(context_in(base, "two", inputs), writable=False) as tree:
        in_use = layers.forget_trees(base / "trees")
        seen = (tree.path / "file").read_text()
    kept = layers.forget_trees(base / "trees", keep=[result["digest"]])
    return [in_use, seen, kept, len(layers.forget_trees(base / "trees")), len(list((base / "trees").iterdir()))]


def test_trees_in_use_are_not_deleted(inside: Callable[..., Any], trees: Path) -> None:
    assert inside(body_in_use, place=trees) == [["partial-left-behind"], "a", [], 1, 0]


def body_made_once(place: str) -> dict[str, Any]:
    base = Path(place)
    context = context_in(base, "one")
    with layers.root_tree(context, writable=True) as tree:
        assert tree.upper
        for index in range(300):
            (tree.path / str(index)).write_text(str(index))
    result = layers.commit_layer(context, tree.upper, EPOCH)
    layers.forget_trees(base / "trees")
    return result


def body_reader(place: str, name: str, result: dict[str, Any]) -> int:
    base = Path(place)
    inputs = (Input(name="one", path=base / "one/output", result=result),)
    count = 0
    for index in range(5):
        with layers.root_tree(context_in(base, f"{name}-{index}", inputs), writable=False) as tree:
            count += sum(int(each.read_text()) == int(each.name) for each in tree.path.iterdir())
        layers.forget_trees(base / "trees")
    return count


def test_builders_at_once_and_trees_deleted_meanwhile(inside: Callable[..., Any], trees: Path) -> None:
    result = inside(body_made_once, place=trees)
    with ThreadPoolExecutor(3) as pool:
        counts = pool.map(lambda name: inside(body_reader, place=trees, name=name, result=result), "abc")
        assert list(counts) == [1500] * 3
    assert list((trees / "trees").iterdir()) == []


def test_trees_are_deleted_from_outside(inside: Callable[..., Any], trees: Path) -> None:
    inside(body_round_trip, place=trees)
    assert len(list((trees / "trees").iterdir())) == 1
    layers.forget_unused_trees(trees / "trees")
    assert list((trees / "trees").iterdir()) == []


def body_refused(place: str, name: str) -> None:
    context = context_in(Path(place), "one")
    with layers.root_tree(context, writable=True) as tree:
        assert tree.upper
        (tree.path / name).write_text("a")
    layers.commit_layer(context, tree.upper, EPOCH)


def test_names_of_whiteouts_are_refused(inside: Callable[..., Any], trees: Path) -> None:
    with pytest.raises(BuilderError, match=r"\.wh\.name"):
        inside(body_refused, place=trees, name=".wh.name")
