"""The region's database: older formats are taken along, newer ones are left alone."""

import sqlite3
from pathlib import Path

import pytest

from builder.region.state import FORMATS, VERSION, State

TABLES = {"settings", "key_pairs", "security_groups", "security_group_rules", "reservations", "instances"}


def tables(state: State) -> set[str]:
    return {row["name"] for row in state.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}


def version(state: State) -> int:
    row = state.row("PRAGMA user_version")
    assert row is not None
    return int(row["user_version"])


def old_database(directory: Path, number: int) -> sqlite3.Connection:
    directory.mkdir()
    database = sqlite3.connect(directory / "region.sqlite", isolation_level=None)
    for each in FORMATS[:number]:
        database.executescript(each)
    database.execute(f"PRAGMA user_version = {number}")
    return database


@pytest.mark.parametrize("with_settings", [False, True], ids=["first", "with-settings"])
def test_a_region_of_format_1_keeps_all_that_it_has(with_settings: bool, tmp_path: Path) -> None:
    database = old_database(tmp_path / "state", 1)
    database.execute("INSERT INTO buckets VALUES ('b', '2026', 'ObjectWriter', NULL, 'private')")
    database.execute("INSERT INTO objects VALUES (7, 'b', 'k', 3, 'e', '2026', 'private', '{}', '{}')")
    database.execute("INSERT INTO images VALUES ('ami-1', 'me', 'n', 'available', '2026', '{}', x'00')")
    database.execute("INSERT INTO tags VALUES ('ami-1', 'a', 'b')")
    if with_settings:  # these came while the format was 1
        database.execute(
            "CREATE TABLE settings (bucket TEXT NOT NULL REFERENCES buckets ON DELETE CASCADE, name TEXT NOT NULL, "
            "document TEXT NOT NULL, PRIMARY KEY (bucket, name)) WITHOUT ROWID"
        )
        database.execute("INSERT INTO settings VALUES ('b', 'policy', '{}')")
    database.close()
    for _ in range(2):
        state = State(tmp_path / "state")
        assert (version(state), TABLES - tables(state)) == (VERSION, set())
        assert state.usage() == {"buckets": 1, "objects": 1, "bytes": 3, "images": 1, "instances": 0}
        assert len(state.rows("SELECT * FROM settings")) == with_settings
        assert state.row("SELECT value FROM tags WHERE resource = 'ami-1'") == {"value": "b"}
        state.close()


def test_a_new_one_and_one_of_every_format_are_alike(tmp_path: Path) -> None:
    def schema(state: State) -> list[object]:
        return [row["sql"] for row in state.rows("SELECT sql FROM sqlite_master ORDER BY name")]

    new = schema(State(tmp_path / "new"))
    for number in range(1, VERSION):
        old_database(tmp_path / f"of-{number}", number).close()
        assert schema(State(tmp_path / f"of-{number}")) == new


def test_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    State(tmp_path / "state").close()
    with sqlite3.connect(tmp_path / "state" / "region.sqlite") as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "state" / "region.sqlite").read_bytes()
    with pytest.raises(RuntimeError, match=f"has format {VERSION + 1}, this program writes {VERSION}: reset it"):
        State(tmp_path / "state")
    assert (tmp_path / "state" / "region.sqlite").read_bytes() == before


def test_a_transaction_inside_another_is_part_of_it(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    with pytest.raises(ZeroDivisionError), state.transaction():
        with state.transaction() as database:
            database.execute("INSERT INTO tags VALUES ('ami-1', 'a', 'b')")
        assert len(state.rows("SELECT * FROM tags")) == 1
        raise ZeroDivisionError
    assert state.rows("SELECT * FROM tags") == []
