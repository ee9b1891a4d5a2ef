"""A golden file: what is expected stands beside the tests, and --rewrite-golden writes it anew from what is."""

from pathlib import Path

from tests.support.plans import GOLDEN


def hold(name: str, actual: str, *, rewrite: bool, base: Path = GOLDEN) -> None:
    """Compare with a file under `base`, or write it."""
    path = base / name
    if rewrite:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(actual)
    assert actual == path.read_text(), f"{path} expects otherwise; if that is meant: --rewrite-golden, and say why"
