"""The store: whole or not at all, one builder at a time, nothing left behind."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from builder.errors import BuilderError, HostError
from builder.store.contract import Record
from builder.store.local import Busy, LocalStore, at_once

KEY = "ab" * 32


def record(key: str = KEY, created: int = 1) -> Record:
    return Record(
        key=key, stage="image", version=1, spec={"a": 1}, inputs={}, result={"size": 3}, created=created, milliseconds=5
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "a store")
    made.prepare()
    return made


def left(store: LocalStore) -> list[str]:
    return sorted(path.name for path in (store.root / "work").iterdir())


def commit(store: LocalStore, text: str, *, replace: bool = False, created: int = 1) -> None:
    with store.workspace(KEY) as room:
        (room.output / "file").write_text(text)
        store.put(record(created=created), room.output, replace=replace)


def test_an_object_comes_back_as_it_was_put(store: LocalStore) -> None:
    assert not store.has(KEY)
    commit(store, "one")
    assert store.has(KEY)
    assert store.get(KEY).record == record()
    assert (store.get(KEY).path / "file").read_text() == "one"
    assert left(store) == []


def test_the_first_object_of_a_key_stays_unless_replaced(store: LocalStore) -> None:
    commit(store, "one")
    commit(store, "two")
    assert (store.get(KEY).path / "file").read_text() == "one"
    commit(store, "three", replace=True, created=2)
    assert (store.get(KEY).path / "file").read_text() == "three"
    assert store.get(KEY).record.created == 2
    assert left(store) == []


def test_a_missing_object_is_a_key_error(store: LocalStore) -> None:
    with pytest.raises(KeyError):
        store.get(KEY)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "strange": 2}'])
def test_a_damaged_record_says_which_file_to_remove(store: LocalStore, text: str) -> None:
    commit(store, "one")
    (store.object_path(KEY) / "object.json").write_text(text)
    with pytest.raises(BuilderError) as caught:
        store.get(KEY)
    assert str(store.object_path(KEY)) in caught.value.brief
    assert "rm -r" in caught.value.hint


def test_a_failed_step_leaves_no_object_and_no_files(store: LocalStore) -> None:
    with pytest.raises(RuntimeError), store.workspace(KEY) as room:
        (room.output / "half").write_text("x")
        (room.scratch / "junk").write_text("x")
        raise RuntimeError
    assert not store.has(KEY)
    assert left(store) == []


def test_one_lease_at_a_time(store: LocalStore) -> None:
    order: list[str] = []

    def build(name: str) -> None:
        with store.lease(KEY, 1):
            order.append(f"{name} in")
            time.sleep(0.02)
            order.append(f"{name} out")

    threads = [threading.Thread(target=build, args=(str(number),)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [entry.split()[1] for entry in order] == ["in", "out"] * 8
    assert list((store.root / "leases").iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from builder.store.local import Busy, LocalStore, at_once
store = LocalStore(Path(sys.argv[1]))
with store.lease(sys.argv[2], 1), store.workspace(sys.argv[2]) as room:
    (room.output / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_builder_frees_its_lease_and_is_swept(store: LocalStore) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, store.root, KEY], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert store.sweep() == ()  # alive: not touched
    with pytest.raises(Busy), store.lease(KEY, 1, stopped=at_once):
        pass
    process.kill()
    process.wait()
    store.prepare()
    assert left(store) == []
    assert list((store.root / "leases").iterdir()) == []
    assert not store.has(KEY)
    with store.lease(KEY, 1):
        pass


def test_trees_that_dead_builds_had_not_finished_are_swept(store: LocalStore) -> None:
    for name in ("partial-dead", "partial-alive", "a" * 64):
        (store.trees / name / "usr").mkdir(parents=True)
    held = os.open(store.trees / "partial-alive", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    assert store.sweep() == (store.trees / "partial-dead",)
    assert sorted(path.name for path in store.trees.iterdir()) == ["a" * 64, "partial-alive"]
    os.close(held)


def test_a_lock_file_without_its_workspace_is_swept(store: LocalStore) -> None:
    (store.root / "work/abc-1.lock").touch()
    assert store.sweep() == (store.root / "work/abc-1",)
    assert left(store) == []


def test_others_cannot_look_into_a_store(store: LocalStore) -> None:
    assert {path.stat().st_mode & 0o777 for path in (store.root, *store.root.iterdir())} == {0o700}


def test_a_place_that_cannot_be_written_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError) as caught:
        LocalStore(tmp_path / "file" / "store").prepare()
    assert "--store" in caught.value.hint


def test_a_short_key_finds_the_one_step(store: LocalStore) -> None:
    commit(store, "one")
    (store.root / "logs" / f"{'cd' * 32}.log").touch()
    assert store.find("abab") == KEY
    assert store.find("cd") == "cd" * 32
    with pytest.raises(BuilderError, match="2 steps"):
        store.find("")
    (store.root / "other.log").touch()
    for strange in ("ef", "*", "a**", "[", "../other", "/etc"):
        with pytest.raises(BuilderError, match="no step"):
            store.find(strange)


def test_used_last_reads_what_it_can(store: LocalStore) -> None:
    (store.root / "history" / "r").mkdir()
    (store.root / "history" / "r" / "v.json").write_text(json.dumps({"image": {"key": KEY}}))
    (store.root / "history" / "r" / "broken.json").write_text("{")
    assert store.used_last() == {KEY}


def test_a_removed_object_is_gone_at_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, "one")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.store.local._discard", killed)
    with pytest.raises(KeyboardInterrupt):
        store.remove(KEY)
    assert not store.object_path(KEY).exists()
    monkeypatch.undo()
    store.sweep()
    assert left(store) == []


def test_who_is_alone_waits_for_nobody(store: LocalStore) -> None:
    with store.in_use(), store.in_use(), pytest.raises(Busy), store.alone():
        pass
    with store.alone():
        pass
