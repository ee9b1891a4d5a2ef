"""What was found of one thing, before anything is built."""

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    OK = "ok"
    UNCHECKED = "unchecked"
    """Nobody could say: an error may come of it, or none."""
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`remedy` is what to do about it; "" where nothing has to be done, or can be."""

    id: str
    """Which question it answers: credentials, region, rights, bucket, snapshots, quota, name, kernel, instance-type,
    key, certificate."""
    severity: Severity
    what: str
    key: str = ""
    """The recipe's key that it depends on."""
    where: str = ""
    """FILE:LINE:COLUMN of that key, where the recipe has it."""
    remedy: str = ""
    local: bool = False
    """An error of this machine or of the recipe, not of the region."""
