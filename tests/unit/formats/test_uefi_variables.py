import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.formats.uefi_variables import MOST, parse_variables
from tests.support.uefi import store

GOOD = store(b"a stream of some kind")


def test_lines_do_not_matter() -> None:
    assert parse_variables("\n".join(textwrap.wrap(GOOD, 10)) + "\r\n") == GOOD


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "it is no store of UEFI variables: it does not begin with AMZNUEFI", id="empty"),
        pytest.param("?", "it is not base64", id="no-base64"),
        pytest.param("\xff\xfe", "it is not base64", id="binary"),
        pytest.param(GOOD[:-1], "it is not base64", id="cut-in-a-group"),
        pytest.param(GOOD[:-4], "its checksum is wrong: it was cut short or changed", id="cut"),
        pytest.param(store(checksum=1), "its checksum is wrong: it was cut short or changed", id="checksum"),
        pytest.param(
            store(magic=b"_FVH\0\0\0\0"),
            "it is no store of UEFI variables: it does not begin with AMZNUEFI",
            id="edk2",
        ),
        pytest.param(store(version=1), "it is of version 1, and only 0 is known", id="version"),
        pytest.param("A" * (MOST + 4), "it has 64004 characters, and EC2 takes 64000", id="large"),
    ],
)
def test_refuses(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_variables(text)
    assert str(caught.value) == says


@given(st.binary(max_size=40), st.integers(0, 40))
def test_any_other_byte_is_noticed(stream: bytes, place: int) -> None:
    whole = bytearray(base64.b64decode(store(stream)))
    whole[place % len(whole)] ^= 0x40
    with pytest.raises(ValueError):
        parse_variables(base64.b64encode(whole).decode())


@given(st.text(max_size=60))
def test_rubbish_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        parse_variables(text)
