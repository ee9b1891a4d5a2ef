import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builder.recipe.schema import FILES, part_schema, schema, text

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests/fixtures/recipes"
GOOD = [*(ROOT / "recipes").glob("*.toml"), *FIXTURES.glob("good-*.toml")]
PARTS = [*(ROOT / "recipes/parts").glob("*.toml"), *(FIXTURES / "parts").glob("good-*.toml")]
BAD = sorted(FIXTURES.glob("bad-*.toml"))
# What no schema can say of one file, and why.
ELSEWHERE = {
    "duplicate-key": "not TOML",
    "syntax": "not TOML",
    "syntax-end": "not TOML",
    "extends-broken": "the other file",
    "extends-duplicates": "the other file",
    "extends-loop": "the other file",
    "include-clash": "the other file",
    "mmdebstrap": "what goes with which installer",
    "kernel": "the files under kernels/",
    "kernel-architecture": "the files under kernels/",
    "virtualization": "which types are for which images",
    "register-name": "a template's names",
    "register-name-long": "what a template gives",
}


def errors(document: dict[str, Any], path: Path) -> list[str]:
    validator = jsonschema.Draft202012Validator(document)
    return [error.json_path for error in validator.iter_errors(tomllib.loads(path.read_text()))]


def test_is_a_schema() -> None:
    for document in (schema(), part_schema()):
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["properties"]["network"]["$ref"] == "#/$defs/Network"
        assert "null" not in str(document)


def test_the_published_files_are_made_from_the_model() -> None:
    made = {"recipe.json": text(schema()), "part.json": text(part_schema())}
    assert {name: (FILES / name).read_text() for name in made} == made, "run: python -m builder.recipe.schema"


def test_editors_are_told_which_schema_is_for_which_file() -> None:
    rules = tomllib.loads((ROOT / ".taplo.toml").read_text())["rule"]
    for rule, files in zip(rules, (GOOD, PARTS), strict=True):
        covered = [path for pattern in rule["include"] for path in ROOT.glob(pattern)]
        assert set(covered) == {path for path in files if path.is_relative_to(ROOT / "recipes")}
        assert json.loads((ROOT / rule["schema"]["path"]).read_text())["$defs"]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_accepts(path: Path) -> None:
    assert errors(schema(), path) == []


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_accepts_parts(path: Path) -> None:
    assert errors(part_schema(), path) == []


@pytest.mark.parametrize("path", [each for each in BAD if each.stem[4:] not in ELSEWHERE], ids=lambda path: path.stem)
def test_refuses(path: Path) -> None:
    assert errors(schema(), path) != []


def test_what_it_cannot_refuse_is_there() -> None:
    """No exception is left that has become refusable, or has gone."""
    for name, why in ELSEWHERE.items():
        path = FIXTURES / f"bad-{name}.toml"
        assert path.exists(), name
        if why != "not TOML":
            assert errors(schema(), path) == [], name


def test_every_key_is_described() -> None:
    document = schema()
    tables = [document, *(each for each in document["$defs"].values() if "properties" in each)]
    lacking = [
        f"{table.get('title', '')}.{name}"
        for table in tables
        for name, described in table["properties"].items()
        if not described.get("description") and "$ref" not in described
    ]
    assert lacking == []
    assert all(table["description"] for table in tables)
