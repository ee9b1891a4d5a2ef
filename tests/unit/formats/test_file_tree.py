"""A tree as an index: what it takes, what it refuses, and that a layer comes back as it was."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.formats import layer_tar
from builder.formats.file_tree import LARGEST_ID, FileTree, Node, TreeError, parts
from builder.formats.layer_tar import Kind, Sink


def file(data: bytes = b"", **other: int) -> Node:
    def copy(sink: Sink) -> None:
        sink.write(data)

    return Node(kind=Kind.FILE, mode=0o644, size=len(data), copy=copy, uid=other.get("uid", 0))


def link(target: bytes) -> Node:
    return Node(kind=Kind.SYMLINK, target=target)


def written(tree: FileTree) -> list[tuple[bytes, Kind, bytes]]:
    sink = io.BytesIO()
    tree.write(sink)
    source = io.BytesIO(sink.getvalue())
    return [(entry.path, entry.kind, entry.target) for entry, _ in layer_tar.read_entries(source)]


def test_what_is_written_is_a_layer() -> None:
    tree = FileTree()
    tree.add(b"./usr/bin/b", file(b"program"))
    tree.link(b"usr/bin/a", b"./usr/bin/b")
    tree.add(b"bin", link(b"usr/bin"))
    tree.add(b"usr", Node(kind=Kind.DIRECTORY, mode=0o700))
    assert written(tree) == [
        (b"", Kind.DIRECTORY, b""),
        (b"bin", Kind.SYMLINK, b"usr/bin"),
        (b"usr", Kind.DIRECTORY, b""),
        (b"usr/bin", Kind.DIRECTORY, b""),
        (b"usr/bin/a", Kind.FILE, b""),
        (b"usr/bin/b", Kind.HARD_LINK, b"usr/bin/a"),
    ]
    assert tree.root.children[b"usr"].mode == 0o700


def test_reads_as_the_guest_would() -> None:
    tree = FileTree()
    tree.add(b"usr/lib/os-release", file(b"ID=x"))
    tree.add(b"etc/os-release", link(b"../usr/lib/os-release"))
    tree.add(b"a", link(b"/b"))
    tree.add(b"b", link(b"../../../etc"))
    tree.add(b"loop", link(b"loop"))
    assert tree.read("etc/os-release", 100) == b"ID=x"
    assert tree.read("a/os-release", 2) == b"ID"
    assert [tree.read(path, 9) for path in ("loop", "etc", "etc/os-release/x", "no")] == [None] * 4


def test_a_file_takes_the_place_of_a_directory_and_back() -> None:
    tree = FileTree()
    tree.add(b"d/inner", file())
    tree.add(b"d", file(b"1"))
    assert [path for path, _ in tree.walk()] == [b"", b"d"]
    tree.add(b"d", Node(kind=Kind.DIRECTORY))
    tree.add(b"d/x", file())
    tree.remove(b"d/x")
    tree.remove(b"not/there")
    assert [path for path, _ in tree.walk()] == [b"", b"d"]


@pytest.mark.parametrize("path", [b"/etc/passwd", b"../x", b"a/../../x", b"a/..", b"x" * 256, b"a/" * 2001, b"a\0b"])
def test_refuses_paths(path: bytes) -> None:
    for act in (lambda: FileTree().add(path, file()), lambda: FileTree().remove(path), lambda: parts(path)):
        with pytest.raises(TreeError):
            act()


@pytest.mark.parametrize("target", [b"/etc/shadow", b"../../etc/shadow", b"no", b"d", b"s/f", b"self"])
def test_refuses_hard_links(target: bytes) -> None:
    tree = FileTree()
    tree.add(b"d/f", file())
    tree.add(b"s", link(b"d"))
    with pytest.raises(TreeError):
        tree.link(b"self", target)


def test_refuses_what_lies_below_a_link() -> None:
    tree = FileTree()
    tree.add(b"etc", link(b"/etc"))
    with pytest.raises(TreeError, match=r'"etc/passwd" lies below "etc", which is a symbolic link'):
        tree.add(b"etc/passwd", file())


def test_refuses_owners_and_lengths() -> None:
    with pytest.raises(TreeError, match="65535:0"):
        FileTree().add(b"x", file(uid=LARGEST_ID + 1))
    tree = FileTree()
    tree.add(b"x", Node(kind=Kind.FILE, size=3, copy=lambda sink: None))
    with pytest.raises(TreeError, match="0 bytes, and 3 were announced"):
        tree.write(io.BytesIO())


NAMES = st.lists(st.sampled_from([b"a", b"b", b"a.b", b"a-b", b"\xff", b".."]), min_size=1, max_size=4)


@given(st.lists(st.tuples(NAMES, st.sampled_from(["file", "dir", "link", "hard", "remove"]), NAMES), max_size=12))
def test_whatever_is_done_to_it_a_layer_comes_out(steps: list[tuple[list[bytes], str, list[bytes]]]) -> None:
    tree = FileTree()
    for names, what, other in steps:
        path = b"/".join(names)
        try:
            if what == "remove":
                tree.remove(path)
            elif what == "hard":
                tree.link(path, b"/".join(other))
            else:
                made = {"file": file(b"x"), "dir": Node(kind=Kind.DIRECTORY), "link": link(b"/".join(other))}
                tree.add(path, made[what])
        except TreeError:
            pass
    assert all(b".." not in path.split(b"/") for path, _, _ in written(tree))
