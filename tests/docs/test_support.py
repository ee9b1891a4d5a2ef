"""docs/support.md says of every recipe what it is, and no more than what the tests do."""

import re
from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.recipe.load import load_recipe
from builder.stages.values import LockedPackage, rpm_database
from tests.support.releases import RELEASES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/support.md").read_text()
ROWS = re.findall(r"^\| `([a-z0-9-]+)`[^|]* \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)
RECIPES = sorted(each.stem for each in (ROOT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_its_rows(name: str) -> None:
    rows = [row for row in ROWS if row[0] == name]
    assert rows, f"docs/support.md says nothing of recipes/{name}.toml"
    recipe = load_recipe(ROOT / f"recipes/{name}.toml").recipe
    for word in (*recipe.architectures, *recipe.virtualization):
        assert any(word in row[1] for row in rows)


def test_no_row_is_of_a_recipe_that_there_is_not() -> None:
    assert {row[0] for row in ROWS} <= set(RECIPES)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}, {row[1]}" for row in ROWS])
def test_what_a_row_says_is_held_by_tests_that_there_are(row: tuple[str, str, str, str]) -> None:
    name, _, state, held = row
    assert re.match(r"(booted|built|installed|planned)\b", state)
    places = re.findall(r"`([^`]+)`", held)
    assert places
    assert all((ROOT / place).exists() for place in places)
    if "packages installed" in state:
        assert name in RELEASES
        assert "tests/host/test_rpm_recipes.py" in places
    if state.startswith("planned"):
        assert (ROOT / f"tests/golden/{name}.keys.txt").exists()


@pytest.mark.parametrize(
    "version", re.findall(r"\d+\.\d+", PAGE.partition("## What cannot be built")[2].partition("## dnf")[0])
)
def test_what_cannot_be_built_is_refused(version: str) -> None:
    rpm = LockedPackage(
        name="rpm", epoch=0, version=version, release="1", architecture="x86_64", repository="r",
        header_sha256="0" * 64, payload_sha256="0" * 64, size=1, build_time=1,
    )  # fmt: skip
    if version == "4.16":
        assert rpm_database([rpm]) == "/var/lib/rpm"
    else:
        with pytest.raises(RecipeError, match="could not read what is installed"):
            rpm_database([rpm])


def test_red_hats_kernels_are_refused_for_pv(tmp_path: Path) -> None:
    (tmp_path / "kernels").symlink_to(ROOT / "kernels")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/rocky-9").symlink_to(ROOT / "recipes/rocky-9")
    text = (ROOT / "recipes/rocky-9.toml").read_text()
    path = tmp_path / "recipes/rocky-9.toml"
    path.write_text(text.replace('virtualization = ["hvm"]', 'virtualization = ["hvm", "pv"]'))
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    said = f"{error.value.brief}\n{error.value.detail}"
    assert "virtualization[1]: kernel enterprise-linux boots hvm images alone: Red Hat builds its kernels" in said
