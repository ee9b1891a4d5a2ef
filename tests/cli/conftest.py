"""One desk with everything built, shared by the tests that only look."""

from pathlib import Path

import pytest

from builder.plan.step import Plan
from tests.support.desk import Desk


@pytest.fixture(scope="session")
def full_desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Plan]:
    """A desk, and the plan of the recipe on it. Tests must leave it as it is."""
    path: Path = tmp_path_factory.mktemp("desk")
    desk = Desk(path=path)
    desk.set_up()
    done = desk.run("plan", "web.toml", "--offline")
    assert done.code == 0, done.stderr
    plan = desk.plan()
    desk.fill(plan)
    return desk, plan
