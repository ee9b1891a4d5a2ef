from builder.cloud.pace import MOST, Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(pace: Pace, clock: Clock, seconds: float, capacity: float, latency: float = 0.1) -> list[int]:
    """A region that takes `capacity` requests a second, each `latency` long; the limits that were seen."""
    seen, end = [pace.limit], clock.now + seconds
    while clock.now < end:
        clock.now += 1 / min(capacity, pace.limit / latency)
        pace.succeeded()
        if pace.limit != seen[-1]:
            seen.append(pace.limit)
    return seen


def test_grows_while_that_brings_more() -> None:
    clock = Clock()
    assert run(Pace(clock=clock), clock, 20, capacity=1e6) == [4, 8, 16, 32, MOST]


def test_goes_back_where_more_brings_nothing_and_tries_again_later() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    assert run(pace, clock, 3, capacity=80) == [4, 8, 16, 8]
    assert run(pace, clock, 10, capacity=1e6) == [8, 16, 32, MOST]


def test_halves_once_for_a_burst_of_refusals() -> None:
    clock = Clock()
    pace = Pace(start=16, clock=clock)
    for _ in range(16):
        pace.slower()
    assert (pace.limit, pace.throttled) == (8, 16)
    clock.now += 1
    pace.slower()
    assert pace.limit == 4
    for _ in range(10):
        clock.now += 1
        pace.slower()
    assert pace.limit == 1


def test_rests_after_a_refusal_before_it_grows() -> None:
    clock = Clock()
    pace = Pace(start=16, clock=clock)
    pace.slower()
    assert run(pace, clock, 4.5, capacity=1e6) == [8]
    assert run(pace, clock, 10, capacity=1e6) == [8, 16, 32, MOST]
