"""What the last finished build of each variant was made of, to say what changed since."""

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from builder.canonical import to_plain
from builder.plan.decide import Past
from builder.plan.step import Plan, Variant


class History:
    """One small JSON file for each variant, written by rename."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, variant: Variant) -> Path:
        return self.root / variant.recipe / f"{variant.name}-{variant.region}.json"

    def load(self, variants: Iterable[Variant]) -> dict[str, dict[str, Past]]:
        """By variant name and step label. A damaged file counts as none: it only explains, it decides nothing."""
        found = {}
        for variant in variants:
            table = _read(self._path(variant))
            if not table:
                continue
            try:
                found[variant.name] = {
                    label: Past(
                        key=entry["key"],
                        spec=entry["spec"],
                        inputs=tuple((name, key) for name, key in entry["inputs"]),
                        version=entry["version"],
                    )
                    for label, entry in table.items()
                }
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return found

    def save(self, plan: Plan, finished: Collection[str]) -> None:
        """Remember the steps in `finished` (keys); of the others what was remembered before, so that a build that
        failed half-way still explains what it did finish."""
        for variant in plan.variants:
            steps = tuple(plan.chain(variant.name))
            table = {
                each.label: {
                    "key": each.key,
                    "spec": to_plain(each.spec),
                    "inputs": [list(pair) for pair in each.inputs],
                    "version": each.version,
                }
                for each in steps
                if each.key in finished
            }
            if not table:
                continue
            path = self._path(variant)
            labels = {each.label for each in steps}
            table = {label: entry for label, entry in _read(path).items() if label in labels} | table
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_text(json.dumps(table))
            partial.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
