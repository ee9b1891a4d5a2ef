"""store gc: what it takes, what it leaves, and when it refuses."""

import json
import os
from pathlib import Path

import pytest

from builder.cli.store import gc, list_
from builder.errors import BuilderError
from builder.store.contract import Record
from builder.store.local import LocalStore


def commit(store: LocalStore, key: str, created: int = 1) -> None:
    with store.workspace(key) as room:
        record = Record(
            key=key, stage="image", version=1, spec={}, inputs={}, result={}, created=created, milliseconds=1
        )
        store.put(record, room.output)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setattr("builder.host.layers.forget_unused_trees", lambda trees: None)
    made = LocalStore(tmp_path / "store")
    made.prepare()
    return made


def test_all_takes_objects_that_cannot_be_read_too(store: LocalStore) -> None:
    commit(store, "ab" * 32)
    (store.object_path("ab" * 32) / "object.json").write_text('{"format": 2}')
    with pytest.raises(BuilderError, match="another version"):
        gc(store=store.root)
    gc(store=store.root, all_=True)
    assert store.keys() == []


def test_the_old_go_and_what_was_used_last_stays(store: LocalStore) -> None:
    old, used, young = "ab" * 32, "cd" * 32, "ef" * 32
    commit(store, old)
    commit(store, used)
    commit(store, young, created=store.now())
    (store.root / "history" / "r").mkdir()
    (store.root / "history" / "r" / "v.json").write_text(f'{{"image": {{"key": "{used}"}}}}')
    gc(store=store.root, days=30)
    assert store.keys() == [used, young]


def test_nothing_is_taken_from_a_running_build(store: LocalStore) -> None:
    commit(store, "ab" * 32)
    with store.in_use(), pytest.raises(BuilderError, match="a build is using") as caught:
        gc(store=store.root, all_=True)
    assert caught.value.hint == "run this again when it has ended"
    assert store.keys() == ["ab" * 32]


def test_logs_go_with_their_objects_and_those_of_failures_when_they_are_old(store: LocalStore) -> None:
    kept, failed, failed_long_ago = "ab" * 32, "cd" * 32, "ef" * 32
    commit(store, kept, created=store.now())
    for key in (kept, failed, failed_long_ago):
        store.log_path(key).touch()
        store.job_path(key).touch()
    for path in (store.log_path(kept), store.log_path(failed_long_ago), store.job_path(failed_long_ago)):
        os.utime(path, (1, 1))
    gc(store=store.root, days=30)
    assert sorted(path.name for path in (store.root / "logs").iterdir()) == [
        f"{key}.{kind}" for key in (kept, failed) for kind in ("job", "log")
    ]
    gc(store=store.root, all_=True)
    assert list((store.root / "logs").iterdir()) == []


def test_what_lies_in_directories_counts(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    commit(store, "ab" * 32)
    (store.object_path("ab" * 32) / "packages").mkdir()
    (store.object_path("ab" * 32) / "packages" / "a.rpm").write_bytes(b"x" * 1_000_000)
    list_(store=store.root, json=True)
    assert json.loads(capsys.readouterr().out)["objects"][0]["bytes"] > 1_000_000
