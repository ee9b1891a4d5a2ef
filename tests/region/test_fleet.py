"""A fleet in the local region: built, unchanged, one recipe failing beside others. Minutes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_documents import SCHEMAS
from tests.support.shipped import shipped
from tests.support.tiny import Bench

pytestmark = [pytest.mark.host, pytest.mark.slow]

FLEET = """\
name = "night"
[[recipes]]
recipe = "quickstart.toml"
virtualization = ["pv"]
[[recipes]]
recipe = "noted.toml"
virtualization = ["pv"]
instance_types = ["m1.small"]
[[recipes]]
recipe = "failing.toml"
virtualization = ["pv"]
instance_types = ["m1.small"]
"""
NOTED = 'extends = "quickstart.toml"\nname = "noted"\n[[files]]\ndestination = "/etc/note"\ncontent = "{}"\n'
FAILING = 'extends = "quickstart.toml"\nname = "failing"\n[[scripts]]\nrun = "echo on purpose >&2; exit 3"\n'


@pytest.fixture
def bench() -> Iterator[Bench]:
    with shipped("quickstart", room="fleet", patience=1800.0) as made:
        recipes = made.path / "recipes"
        (recipes / "noted.toml").write_text(NOTED.format("one"))
        (recipes / "failing.toml").write_text(FAILING)
        (recipes / "night.toml").write_text(FLEET)
        yield made


def test_nights(bench: Bench) -> None:
    fleet = bench.path / "recipes/night.toml"
    first = bench.run("fleet", "build", fleet)
    assert first.returncode == 11, first.stderr
    assert "customise.1: the script" in first.stderr or "on purpose" in first.stderr
    quickstart, noted = first.stdout.split()
    again = bench.run("fleet", "build", fleet, "--json")
    told = json.loads(again.stdout)
    _fits(told)
    assert (again.returncode, told["outcome"]) == (11, "partly failed")
    assert [(Path(each["recipe"]).name, each["state"]) for each in told["recipes"]] == [
        ("quickstart.toml", "unchanged"),
        ("noted.toml", "unchanged"),
        ("failing.toml", "failed"),
    ]
    assert [image["image_id"] for each in told["recipes"] for image in each["images"]] == [quickstart, noted]
    fleet.write_text("".join(FLEET.partition('[[recipes]]\nrecipe = "failing.toml"')[0]))
    unchanged = bench.run("fleet", "build", fleet)
    assert (unchanged.returncode, unchanged.stdout.split()) == (10, [quickstart, noted])
    (bench.path / "recipes/noted.toml").write_text(NOTED.format("two"))
    changed = bench.run("fleet", "build", fleet, "--json")
    told = json.loads(changed.stdout)
    assert (changed.returncode, told["outcome"]) == (0, "built")
    assert [each["state"] for each in told["recipes"]] == ["unchanged", "built"]
    ran = {each["label"] for each in told["recipes"][1]["steps"] if each["action"] == "run"}
    assert ran == {"customise.files", "kernel", "configure", "image", "verify", "bundle", "upload", "register"}


def _fits(told: object) -> None:
    import jsonschema

    jsonschema.validate(told, SCHEMAS["fleet-build"], jsonschema.Draft202012Validator)
