"""Pages of keys, against the definition: sort, group by common prefix, cut."""

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.region.s3.listing import LAST, page_of
from builder.region.state import State

KEYS = st.text(alphabet="ab/é" + string.digits[:2], min_size=1, max_size=5)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    made = State(tmp_path_factory.mktemp("state"))
    with made.transaction() as database:
        database.execute("INSERT INTO buckets VALUES ('b', '', '', NULL, '')")
    return made


def fill(state: State, keys: set[str]) -> None:
    with state.transaction() as database:
        database.execute("DELETE FROM objects")
        database.executemany(
            "INSERT INTO objects (bucket, key, size, etag, modified, acl, attributes, checksums) "
            "VALUES ('b', ?, 0, '', '', '', '', '')",
            [(each,) for each in keys],
        )


def expected(keys: set[str], prefix: str, delimiter: str) -> list[str]:
    """Keys and common prefixes in the order of their bytes."""
    found = set()
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if end < 0 else key[: end + 1])
    return sorted(found, key=str.encode)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    keys=st.sets(KEYS, max_size=25),
    prefix=st.sampled_from(["", "a", "a/", "é"]),
    delimiter=st.sampled_from(["", "/", "b"]),
    limit=st.integers(1, 7),
)
def test_pages_are_the_whole(state: State, keys: set[str], prefix: str, delimiter: str, limit: int) -> None:
    fill(state, keys)
    found: list[str] = []
    after = ""
    for _ in range(60):
        page = page_of(state, "b", prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        names = [*(each["key"] for each in page.rows), *page.prefixes]
        assert len(names) <= limit
        found += sorted(names, key=str.encode)
        if not page.more:
            break
        assert len(names) == limit
        after = page.last
    assert found == expected(keys, prefix, delimiter)


def test_a_common_prefix_is_skipped_not_walked(tmp_path: Path) -> None:
    state = State(tmp_path)
    with state.transaction() as database:
        database.execute("INSERT INTO buckets VALUES ('b', '', '', NULL, '')")
    fill(state, {f"d/{number}" for number in range(2000)} | {"e"})
    asked = []
    rows = state.rows
    state.rows = lambda query, parameters=(): asked.append(query) or rows(query, parameters)  # type: ignore[method-assign,assignment,func-returns-value]
    page = page_of(state, "b", prefix="", delimiter="/", after="", limit=10)
    assert (page.prefixes, [each["key"] for each in page.rows], len(asked)) == (("d/",), ["e"], 3)
    assert page.last == "e"
    assert page_of(state, "b", prefix="", delimiter="/", after="d/" + LAST, limit=10).prefixes == ()
