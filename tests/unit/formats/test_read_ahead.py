import threading
import time
from collections.abc import Iterator

import pytest

from builder.formats import read_ahead
from builder.formats.read_ahead import ReadAhead


class Stop(BaseException):
    """Stands for KeyboardInterrupt."""


def test_the_items_in_order_made_by_another_thread() -> None:
    makers = set()

    def items() -> Iterator[int]:
        for number in range(1000):
            makers.add(threading.current_thread().name)
            yield number

    with ReadAhead(items(), name="maker") as ahead:
        assert list(ahead) == list(range(1000))
        assert next(ahead, None) is None
    assert makers == {"maker"}


def test_no_more_than_a_few_are_made_ahead() -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        for number in range(100):
            made += 1
            yield number

    with ReadAhead(items(), ahead=3) as ahead:
        assert next(ahead) == 0
        for _ in range(200):
            if made == 5:
                break
            time.sleep(0.01)
        assert made == 5  # one taken, three that wait, one in hand


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise Stop

    with ReadAhead(items()) as ahead:
        assert [next(ahead), next(ahead)] == [1, 2]
        with pytest.raises(Stop):
            next(ahead)


@pytest.mark.parametrize("taken", [0, 1, 10])
def test_leaving_ends_the_thread(taken: int) -> None:
    before = threading.active_count()

    def items() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    with pytest.raises(Stop), ReadAhead(items()) as ahead:
        for _ in range(taken):
            next(ahead)
        raise Stop
    assert threading.active_count() == before


def test_stages_in_a_row_end_too() -> None:
    before = threading.active_count()

    def count() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    with pytest.raises(Stop), ReadAhead(count()) as one, ReadAhead(each * 2 for each in one) as two:
        assert [next(two) for _ in range(3)] == [0, 2, 4]
        raise Stop
    assert threading.active_count() == before


def test_an_interrupt_does_not_wait_for_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "_PATIENCE", 0.05)
    gate = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        gate.wait(20)
        yield 2

    before = threading.active_count()
    with pytest.raises(Stop), ReadAhead(items()) as ahead:
        assert next(ahead) == 1
        raise Stop
    assert threading.active_count() == before + 1
    gate.set()
    for _ in range(200):
        if threading.active_count() == before:
            break
        time.sleep(0.01)
    assert threading.active_count() == before
