"""The account that live tests wait for: a region named by a variable, and the usual credentials of the AWS tools."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builder.cloud import sts
from builder.plan.request import Target
from builder.region import control
from builder.region.identity import ACCOUNT
from builder.stages.contract import Surroundings

ENVIRONMENT = dict(os.environ)
"""As it was when the tests were collected: tests/conftest.py takes credentials away from every test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Where all of it happens."""

    region: str
    account: str
    surroundings: Surroundings

    def target(self, usual: Target) -> Target:
        """A plan's target there."""
        return (
            usual
            if self.region == "local"
            else replace(usual, region=self.region, account=self.account, endpoint="aws")
        )


@contextmanager
def reached(state: Path) -> Iterator[Reached]:
    """The region of AMI_FACTORY_LIVE_REGION; the test is skipped without it. `local` tries the test, not AWS."""
    region = ENVIRONMENT.get("AMI_FACTORY_LIVE_REGION")
    if not region:
        pytest.skip("AMI_FACTORY_LIVE_REGION says which AWS region to use")
    with pytest.MonkeyPatch.context() as patched:
        for name in set(os.environ) | set(ENVIRONMENT):
            patched.delenv(name, raising=False)
            if name in ENVIRONMENT:
                patched.setenv(name, ENVIRONMENT[name])
        local = region == "local"
        endpoint = control.start(state / "ami-factory/region").endpoint_url if local else None
        surroundings = Surroundings(state=state, cache=state / "cache", trees=state, endpoint_url=endpoint)
        try:
            account = ACCOUNT if local else sts.account(surroundings, region)
            yield Reached(region=region, account=account, surroundings=surroundings)
        finally:
            if local:
                control.stop(state / "ami-factory/region")
