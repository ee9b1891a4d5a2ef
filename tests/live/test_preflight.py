"""Preflight against AWS itself: nothing is made. See test_bundle.py for what such tests want; this one, a region.

AMI_FACTORY_LIVE_REGION=us-east-1 .venv/bin/python -m pytest -m live tests/live/test_preflight.py
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.factory import Selection
from builder.preflight.ask import Clients
from builder.preflight.check import examine
from builder.preflight.questions import place_of, questions
from tests.support.bundles import make_user
from tests.support.live import Reached, reached
from tests.support.plans import TARGET, planned, prepared

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    with reached(tmp_path_factory.mktemp("live")) as found:
        yield found


@pytest.mark.parametrize(("virtualization", "kind"), [("pv", "m1.small"), ("hvm", "t3.micro")])
def test_every_question_gets_an_answer(virtualization: str, kind: str, where: Reached, tmp_path: Path) -> None:
    """No error, with an account that may make AMIs; what is unchecked is printed, to be looked at (-rP)."""
    target = where.target(TARGET)
    picked = Selection(architectures=("x86_64",), instance_types=(kind,), virtualization=(virtualization,))
    plan = planned(prepared("quickstart"), picked, target=target)
    place = place_of(plan.steps)
    assert place is not None
    key, certificate = make_user(tmp_path)
    asked = questions(plan, plan.steps, pair=(str(certificate), str(key)), sharing=True)
    findings = examine(asked, Clients(where.surroundings, place))
    print(*(f"{each.severity.value}: {each.what}" for each in findings), sep="\n")
    assert [each for each in findings if each.severity.value == "error"] == []
