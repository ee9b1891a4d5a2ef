"""docs/verify.md's table of all that verify can find: `python -m builder.stages.verify.table` prints it."""

import sys

from builder.stages.verify import disk_rules, kernel_rules
from builder.stages.verify.bare import purpose
from builder.stages.verify.rules import RULES, WARNINGS


def table() -> str:
    """A row for each id: its kind, and what holds when it is not found."""
    rows = ["| id | kind | of | what holds |", "| --- | --- | --- | --- |"]
    for name in {**RULES, **disk_rules.RULES, **WARNINGS}:
        kind = "warning" if name in WARNINGS else "error"
        rows.append(f"| `{name}` | {kind} | {_images(name)} | {purpose(name)} |")
    return "\n".join(rows) + "\n"


def _images(name: str) -> str:
    if name in (*kernel_rules.RULES, *kernel_rules.WARNINGS):
        return "pv"
    return "hvm" if name in disk_rules.RULES and name not in RULES else "all"


if __name__ == "__main__":
    sys.stdout.write(table())
