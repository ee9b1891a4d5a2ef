"""A journal tells what was begun, however it was cut short."""

import dataclasses
import multiprocessing
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.stages.snapshot.journal import Begun, Written, journal, unfinished

KEY, A, B = "k" * 64, "a" * 64, "b" * 64
BEGUN = Begun(key=KEY, region="local", account="1", endpoint="x", blocks=A, parent="snap-1", replaces=("snap-0",))


def written(place: Path) -> Path:
    with journal(place, KEY) as diary:
        assert diary.begun is None
        diary.begin(BEGUN)
        diary.started("snap-2")
        diary.acknowledge(3, A)
        diary.acknowledge(70000, B)
    return place / f"{KEY}.journal"


BLOCKS = {3: A, 70000: B}
EXPECTED = Written(begun=BEGUN, snapshot_id="snap-2")
for block in BLOCKS.items():
    EXPECTED.acknowledged.add(*block)


def test_what_was_begun_is_there_for_the_next(tmp_path: Path) -> None:
    path = written(tmp_path / "state")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert unfinished(path.parent) == (EXPECTED,)
    with journal(path.parent, KEY) as diary:
        assert (diary.begun, diary.written) == (BEGUN, EXPECTED)
        diary.finish()
    assert unfinished(path.parent) == ()
    assert not path.exists()


def test_nothing_begun_leaves_nothing(tmp_path: Path) -> None:
    with journal(tmp_path, KEY):
        pass
    assert list(tmp_path.iterdir()) == []


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_cut_short_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    """What is left is the beginning of what was written, and what is appended is read again."""
    path = written(tmp_path)
    text = path.read_bytes()
    at = data.draw(st.integers(0, len(text)))
    path.write_bytes(text[:at] + data.draw(st.sampled_from((b"", b"\0" * 40, b"\0\n", b"7 short\n"))))
    with journal(tmp_path, KEY) as diary:
        if diary.begun is None:
            assert at < text.index(b"\n") + 1
            diary.begin(BEGUN)
        else:
            assert dict(diary.written.acknowledged).items() <= BLOCKS.items()
        before = dict(diary.written.acknowledged)
        diary.acknowledge(9, A)
    (found,) = unfinished(tmp_path)
    assert dict(found.acknowledged) == {**before, 9: A}
    path.unlink()


def test_of_another_format_nothing_is_known(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    assert unfinished(tmp_path) == ()


def test_an_upload_and_an_import(tmp_path: Path) -> None:
    with journal(tmp_path, KEY) as diary:
        diary.begin(BEGUN)
        diary.uploading("bucket", "key", "id")
        diary.importing("import-snap-1")
    assert unfinished(tmp_path) == (Written(begun=BEGUN, upload=("bucket", "key", "id"), task="import-snap-1"),)


def test_begun_anew_forgets(tmp_path: Path) -> None:
    written(tmp_path)
    again = dataclasses.replace(BEGUN, blocks=B, replaces=("snap-0", "snap-2"))
    with journal(tmp_path, KEY) as diary:
        diary.begin(again)
    assert unfinished(tmp_path) == (Written(begun=again),)


def hold(place: Path, ready: "multiprocessing.synchronize.Event", go: "multiprocessing.synchronize.Event") -> None:
    with journal(place, KEY) as diary:
        diary.begin(BEGUN)
        ready.set()
        go.wait(30)
        diary.finish()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second waits, and finds nothing of what the first one finished."""
    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(tmp_path, ready, go))
    other.start()
    try:
        assert ready.wait(30)
        waiting: list[float] = []
        threading.Timer(0.2, go.set).start()
        began = time.monotonic()
        with journal(tmp_path, KEY, waiting=lambda: waiting.append(1)) as diary:
            assert (diary.begun, waiting) == (None, [1])
            assert time.monotonic() - began >= 0.1
    finally:
        go.set()
        other.join(30)


@pytest.mark.parametrize("text", [b"", b"\n", b"null\n", b"[]\n", b"{}\n", b'{"format": 1}\n', b"\xff\n"])
def test_what_is_no_journal(tmp_path: Path, text: bytes) -> None:
    (tmp_path / f"{KEY}.journal").write_bytes(text)
    assert unfinished(tmp_path) == ()
