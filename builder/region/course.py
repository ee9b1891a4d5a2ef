"""What takes its time at AWS: how far it has come is told from when it began and how it is to go on. Pure.

Nothing runs meanwhile, so it goes on over a restart of the region, and a killed region forgets nothing.
"""

import json
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far something has come at one moment."""

    state: str
    """pending, completed or error."""
    percent: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How something goes on from `begun` (seconds of the epoch). Without more said it is done at once."""

    begun: float
    seconds: float = 0.0
    """From its beginning to its end."""
    outcome: str = "completed"
    """completed; error; or stalled, which never ends."""
    at: int = 100
    """The percentage where it fails or stalls."""
    reason: str = ""
    """What is told of an error."""

    def standing(self, now: float | None = None) -> Standing:
        elapsed = (time.time() if now is None else now) - self.begun
        percent = 100 if elapsed >= self.seconds else max(0, int(100 * elapsed / self.seconds))
        if self.outcome != "completed" and percent >= self.at:
            failed = self.outcome == "error"
            return Standing(state="error" if failed else "pending", percent=self.at, reason=self.reason)
        if percent >= 100:
            return Standing(state="completed", percent=100)
        return Standing(state="pending", percent=percent)

    @property
    def end(self) -> float:
        return self.begun + self.seconds

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Course":
        return cls(**json.loads(text))
