"""No link in a tree leads a read or a write out of it."""

import os
import stat
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.host import tree_files

ME = {"uid": os.getuid(), "gid": os.getgid()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree, and beside it a directory of "the host" that must stay as it is."""
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "passwd").write_text("host")
    return root


def write(tree: Path, path: str, data: bytes = b"new", mode: int = 0o644) -> None:
    tree_files.write(tree, path, data, mode=mode, **ME)


def test_writes_with_mode_and_makes_parents(tree: Path) -> None:
    write(tree, "/etc/a/b/key", mode=0o4750)
    assert (tree / "etc/a/b/key").read_bytes() == b"new"
    assert stat.S_IMODE((tree / "etc/a/b/key").stat().st_mode) == 0o4750
    assert stat.S_IMODE((tree / "etc/a").stat().st_mode) == 0o755


def test_an_absolute_link_among_the_parents_stays_inside(tree: Path) -> None:
    host = tree.parent / "host"
    (tree / "var").symlink_to(host)
    write(tree, "/var/passwd")
    assert (host / "passwd").read_text() == "host"
    assert (tree / host.relative_to("/") / "passwd").read_bytes() == b"new"


def test_a_link_that_climbs_out_ends_at_the_root(tree: Path) -> None:
    (tree / "etc/up").symlink_to("../../../../../../host")
    write(tree, "/etc/up/passwd")
    assert (tree.parent / "host/passwd").read_text() == "host"
    assert (tree / "host/passwd").read_bytes() == b"new"


def test_a_link_at_the_end_is_replaced_when_writing_and_followed_when_reading(tree: Path) -> None:
    (tree / "etc/real").write_text("guest's")
    (tree / "etc/link").symlink_to("/etc/real")
    assert tree_files.read(tree, "/etc/link") == b"guest's"
    write(tree, "/etc/link")
    assert not (tree / "etc/link").is_symlink()
    assert (tree / "etc/real").read_text() == "guest's"


def test_reading_through_an_absolute_link_sees_the_tree_only(tree: Path) -> None:
    (tree / "etc/shadow").symlink_to(tree.parent / "host/passwd")
    assert tree_files.read(tree, "/etc/shadow") is None
    assert not tree_files.exists(tree, "/etc/shadow")


def test_dots_do_not_climb_out(tree: Path) -> None:
    assert tree_files.locate(tree, "/../../etc/../host/x") == tree / "host/x"


def test_a_loop_of_links_is_an_error(tree: Path) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    with pytest.raises(BuilderError, match="loop of symbolic links"):
        write(tree, "/a/file")


def test_a_file_or_directory_in_the_way_is_an_error(tree: Path) -> None:
    (tree / "file").write_text("")
    with pytest.raises(BuilderError, match="/file/below: something on the way is a file"):
        write(tree, "/file/below")
    with pytest.raises(BuilderError, match="/etc: is a directory"):
        write(tree, "/etc")


def test_remove_takes_the_link_not_its_target(tree: Path) -> None:
    (tree / "etc/out").symlink_to(tree.parent / "host")
    tree_files.remove(tree, "/etc/out")
    tree_files.remove(tree, "/etc/nothing")
    assert (tree.parent / "host/passwd").read_text() == "host"
    assert not (tree / "etc/out").is_symlink()


def test_directories_get_mode_and_owner(tree: Path) -> None:
    (tree / "root").symlink_to("home")
    made = tree_files.make_directory(tree, "/root/.ssh", mode=0o700, **ME)
    assert made == tree / "home/.ssh"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_only_the_start_of_a_regular_file_is_read(tree: Path) -> None:
    write(tree, "/etc/long", b"x" * 100)
    (tree / "etc/link").symlink_to("/etc/long")
    (tree / "etc/out").symlink_to("../../host/passwd")
    os.mkfifo(tree / "etc/pipe")  # opening it would wait for a writer
    found = {name: tree_files.read_start(tree, f"/etc/{name}", 4) for name in ("long", "link", "out", "pipe", "no")}
    assert found == {"long": b"xxxx", "link": b"xxxx", "out": b"", "pipe": b"", "no": b""}
