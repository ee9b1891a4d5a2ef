"""A golden file: what is expected stands beside the tests, and `make golden` writes it anew from what is."""

from pathlib import Path

from tests.support.plans import GOLDEN


def hold(name: str, actual: str, *, rewrite: bool) -> None:
    """Compare with a file under tests/golden, or write it."""
    path: Path = GOLDEN / name
    if rewrite:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(actual)
    assert actual == path.read_text(), f"{path} expects otherwise; if that is meant: make golden, and say why"
