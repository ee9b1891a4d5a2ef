"""What a benchmark yields."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table: what was measured, against what, and the ratio that is aimed at."""

    name: str
    seconds: float
    against: str
    limit: float
    aim: float

    def __str__(self) -> str:
        ratio = self.seconds / self.limit
        verdict = "within" if ratio <= self.aim else "over"
        compared = f"{ratio:5.2f} of {self.against} ({self.limit:.2f} s); aim {self.aim}: {verdict}"
        return f"{self.name:<44} {self.seconds:7.2f} s   {compared}"
