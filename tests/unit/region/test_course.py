"""How far something has come is told from the clock alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.region.course import Course, Standing


@pytest.mark.parametrize(
    ("course", "after", "expected"),
    [
        pytest.param({}, 0.0, Standing(state="completed", percent=100), id="at once"),
        pytest.param({"seconds": 10.0}, 0.0, Standing(state="pending", percent=0), id="begun"),
        pytest.param({"seconds": 10.0}, 9.99, Standing(state="pending", percent=99), id="nearly"),
        pytest.param({"seconds": 10.0}, 10.0, Standing(state="completed", percent=100), id="done"),
        pytest.param(
            {"seconds": 10.0, "outcome": "error", "at": 50, "reason": "r"},
            4.0,
            Standing(state="pending", percent=40),
            id="not failed yet",
        ),
        pytest.param(
            {"seconds": 10.0, "outcome": "error", "at": 50, "reason": "r"},
            60.0,
            Standing(state="error", percent=50, reason="r"),
            id="failed",
        ),
        pytest.param(
            {"outcome": "stalled", "at": 40}, 1e6, Standing(state="pending", percent=40), id="stalled for ever"
        ),
    ],
)
def test_standing(course: dict[str, object], after: float, expected: Standing) -> None:
    assert Course(begun=1000.0, **course).standing(1000.0 + after) == expected  # type: ignore[arg-type]


@given(
    st.builds(
        Course,
        begun=st.floats(0, 1e10),
        seconds=st.floats(0, 1e6),
        outcome=st.sampled_from(["completed", "error", "stalled"]),
        at=st.integers(0, 100),
        reason=st.text(),
    ),
    st.lists(st.floats(0, 1e7), min_size=2),
)
def test_it_never_goes_back_and_is_remembered(course: Course, moments: list[float]) -> None:
    assert Course.parse(course.text()) == course
    seen = [course.standing(course.begun + each) for each in sorted(moments)]
    percents = [each.percent for each in seen]
    assert percents == sorted(percents)
    ended = [each.state for each in seen if each.state != "pending"]
    assert len(set(ended)) <= 1
