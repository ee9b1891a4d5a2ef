"""store gc: what it takes, what it leaves, and when it refuses."""

from pathlib import Path

import pytest

from builder.cli.store import gc
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
