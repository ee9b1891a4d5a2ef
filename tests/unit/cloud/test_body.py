import io

import pytest

from builder.cloud.body import Abandoned, Body


@pytest.mark.parametrize("data", [b"0123456789", bytearray(b"0123456789"), memoryview(b"x0123456789")[1:]])
def test_read_and_seek_as_a_file(data: bytes) -> None:
    ours, file = Body(data), io.BytesIO(b"0123456789")
    for act in (
        lambda f: f.read(4),
        lambda f: f.tell(),
        lambda f: f.seek(-2, io.SEEK_END),
        lambda f: f.read(),
        lambda f: f.read(1),
        lambda f: f.seek(3),
        lambda f: f.seek(2, io.SEEK_CUR),
        lambda f: f.read(100),
        lambda f: f.seek(99),
        lambda f: f.read(1),
    ):
        assert act(ours) == act(file)


def test_stopped_in_the_middle() -> None:
    told = iter((False, True))
    body = Body(b"0123456789", lambda: next(told))
    assert body.read(2) == b"01"
    with pytest.raises(Abandoned):
        body.read(2)


def test_what_it_was_of_is_free_when_it_is_closed() -> None:
    buffer = bytearray(b"0123456789")
    with Body(buffer) as body:
        assert body.read(2) == b"01"
    buffer.extend(b"more")
