"""The regions as a verb or a stage reaches them: clients, made once, and several regions asked at a time."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from builder.cloud import session
from builder.cloud.errors import Client
from builder.cloud.places import enabled_regions
from builder.cloud.session import Surroundings
from builder.errors import RegionError

Answer = TypeVar("Answer")

AT_ONCE = 16
"""Regions that are asked at the same time."""


@dataclass(slots=True)
class Reach:
    """Clients of any service and region; safe to share between threads."""

    surroundings: Surroundings
    home: str
    _clients: dict[tuple[str, str], Client] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str, region: str) -> Client:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = session.client(service, self.surroundings, region)
            return self._clients[service, region]

    def ec2(self, region: str) -> Client:
        return self.client("ec2", region)

    def ssm(self, region: str) -> Client:
        return self.client("ssm", region)

    def everywhere(self) -> tuple[str, ...]:
        """The account's regions, home first."""
        return enabled_regions(self.ec2(self.home), self.home)

    def each(
        self, regions: Iterable[str], ask: Callable[[str], Answer]
    ) -> tuple[dict[str, Answer], dict[str, RegionError]]:
        """What `ask` answers in each region, several at a time; and the regions that refused, or do not answer."""
        names = list(dict.fromkeys(regions))
        answers: dict[str, Answer] = {}
        refusals: dict[str, RegionError] = {}
        if not names:
            return answers, refusals
        with ThreadPoolExecutor(min(AT_ONCE, len(names)), "region") as pool:
            pending = {name: pool.submit(ask, name) for name in names}
            for name, future in pending.items():
                try:
                    answers[name] = future.result()
                except RegionError as error:
                    refusals[name] = error
        return answers, refusals


def words(error: RegionError) -> str:
    """A refusal in one line, for a table."""
    detail = error.detail.splitlines()[0] if error.detail else ""
    return f"{error.brief}: {detail}" if detail else error.brief
