import tomllib
from pathlib import Path

import jsonschema
import pytest

from builder.recipe.schema import schema

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests/fixtures/recipes"
COMPLETE = [*(ROOT / "recipes").glob("*.toml"), FIXTURES / "good-small.toml", FIXTURES / "good-all.toml"]


def errors(path: Path) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return [error.json_path for error in validator.iter_errors(tomllib.loads(path.read_text()))]


def test_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["network"]["$ref"] == "#/$defs/Network"
    assert "null" not in str(schema())


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.stem)
def test_accepts(path: Path) -> None:
    assert errors(path) == []


@pytest.mark.parametrize("name", ["missing", "types", "unknown-key", "repositories"])
def test_refuses(name: str) -> None:
    """What a schema can say, it says; what only several keys together can, it cannot."""
    assert errors(FIXTURES / f"bad-{name}.toml") != []


def test_every_key_is_described() -> None:
    document = schema()
    tables = [document, *document["$defs"].values()]
    lacking = [
        f"{table.get('title', '')}.{name}"
        for table in tables
        for name, described in table["properties"].items()
        if not described.get("description") and "$ref" not in described
    ]
    assert lacking == []
    assert all(table["description"] for table in document["$defs"].values())
