"""Limits: what is counted, and what is said."""

import os
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.host import limits
from builder.host.control_group import Group, control_group
from builder.host.limits import GIB, MIB, Limits, Watcher, shown, size_of

FEW = Limits(time=60, memory=64 * MIB, processes=10, disk=MIB, log=1000)


def watcher(tmp_path: Path, **more: object) -> Watcher:
    return Watcher(what="script a", limits=FEW, group=Group(memory=tmp_path, processes=tmp_path), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("time", 7200, "2h"), ("time", 90, "90s"), ("time", 600, "10min"), ("disk", 10 * GIB, "10GiB"),
     ("log", 64 * MIB, "64MiB"), ("memory", 1001, "1001 bytes"), ("processes", 3600, "3600")],
)  # fmt: skip
def test_shown_as_a_recipe_has_it(name: str, value: int, said: str) -> None:
    assert shown(name, value) == said


def test_what_is_said(tmp_path: Path) -> None:
    with pytest.raises(BuilderError) as failed:
        watcher(tmp_path).look(1001, ended=False)
    assert failed.value.brief == "script a was stopped: it wrote more to its log than 1000 bytes"
    assert failed.value.hint == (
        "if it needs more, say so: log in the recipe's [limits] or in the script's limits, or for one build "
        "--limit log=VALUE"
    )


def test_time_is_no_matter_once_it_ended(tmp_path: Path) -> None:
    late = watcher(tmp_path, began=-1000.0)
    late.look(0, ended=True)
    with pytest.raises(BuilderError, match="it ran for more than 1min"):
        late.look(0, ended=False)


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [("memory.events", "low 0\noom 2\noom_kill 1\n", "memory"), ("memory.oom_control", "oom_kill 1\n", "memory"),
     ("pids.events", "max 3\n", "processes"), ("pids.events", "max 0\n", "")],
)  # fmt: skip
def test_what_the_kernel_refused(tmp_path: Path, file: str, text: str, name: str) -> None:
    (tmp_path / file).write_text(text)
    assert Group(memory=tmp_path, processes=tmp_path).exceeded() == name


def test_a_tree_is_as_large_as_its_layer(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "hole").touch()
    os.truncate(tmp_path / "a" / "hole", 5 * MIB)
    os.link(tmp_path / "a" / "hole", tmp_path / "again")
    (tmp_path / "link").symlink_to("a")
    assert size_of(tmp_path, GIB) == 4096 + 5 * MIB + 4096 + 4096


def test_counting_ends_when_it_is_enough(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(20):
        deep = deep / "d"
        deep.mkdir()
    assert size_of(tmp_path, 3 * 4096) == 4 * 4096


def test_a_tree_that_is_too_deep(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(BuilderError, match="script a was stopped: it made a path that is too long"):
        watcher(tmp_path / "group", grows=tmp_path).look(0, ended=True)


def test_where_no_group_can_be_made(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("5:pids:/nowhere\n4:memory:/nowhere\n0::/\n")
    with control_group(memory=1, processes=1, mount=tmp_path, own=own) as group:
        assert (group, group.prefix, group.exceeded()) == (Group(), (), "")


def test_a_group_of_version_2_is_made_beside_ours(tmp_path: Path) -> None:
    """As files: the kernel's own make themselves."""
    (tmp_path / "cgroup.controllers").touch()
    parent = tmp_path / "user.slice"
    (parent / "session.scope").mkdir(parents=True)
    (parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    own = tmp_path / "own"
    own.write_text("0::/user.slice/session.scope\n")
    with control_group(memory=1, processes=1, mount=tmp_path, own=own) as group:
        assert group == Group()  # a directory without the kernel's files
        assert [each.parent for each in parent.glob("ami-factory-*")] == [parent]
    assert list(parent.glob("ami-factory-*")) == []


def test_the_usual_ones_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_current", Limits())
    limits.limit_to({"time": 5})
    assert (limits.current().time, limits.current().processes) == (5, 2048)
