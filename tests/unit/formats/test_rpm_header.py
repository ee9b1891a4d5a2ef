"""Headers laid out by hand from the format's description, and hostile ones."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builder.formats import rpm_header
from tests.support.rpm_headers import header


def test_numbers_and_texts() -> None:
    blob = header({1000: "bash", 1003: 2, 1009: 7, 5009: 2**40, 1022: "x86_64"})
    assert rpm_header.parse_header(blob) == {1000: "bash", 1003: 2, 1009: 7, 5009: 2**40, 1022: "x86_64"}


def test_what_is_not_read_is_passed_over() -> None:
    blob = struct.pack(">II", 1, 16) + struct.pack(">iIiI", 63, 7, 0, 16) + bytes(16)
    assert rpm_header.parse_header(blob) == {}


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(b"", id="empty"),
        pytest.param(struct.pack(">II", 2**31, 0), id="entries"),
        pytest.param(struct.pack(">II", 0, 2**31), id="data"),
        pytest.param(struct.pack(">II", 1, 4) + struct.pack(">iIiI", 1000, 6, 0, 1) + b"bash", id="endless text"),
        pytest.param(struct.pack(">II", 1, 4) + struct.pack(">iIiI", 1000, 6, -1, 1) + bytes(4), id="text before"),
        pytest.param(struct.pack(">II", 1, 4) + struct.pack(">iIiI", 1009, 4, 1, 1) + bytes(4), id="number outside"),
    ],
)
def test_hostile(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        rpm_header.parse_header(blob)


@given(st.binary(max_size=200))
@example(struct.pack(">II", 1, 0) + struct.pack(">iIiI", 0, 6, 0, 0))
def test_any_bytes_are_a_header_or_refused(blob: bytes) -> None:
    try:
        found = rpm_header.parse_header(blob)
    except ValueError:
        return
    assert all(isinstance(each, int | str) for each in found.values())
