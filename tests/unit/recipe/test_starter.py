from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.recipe.files import collect
from builder.recipe.load import load_recipe
from builder.recipe.starter import starter

RECIPES = Path(__file__).parents[3] / "recipes"


def test_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "web.toml"
    path.write_text(starter("web"))
    loaded = load_recipe(path)
    assert (loaded.recipe.name, loaded.recipe.kernel) == ("web", "quickstart")
    (file,) = collect(loaded, {"name": "web", "version": "1"}).files
    quickstart = load_recipe(RECIPES / "quickstart.toml").recipe
    assert loaded.recipe.distribution == quickstart.distribution
    assert file.text == "This is web, version 1.\n"


@pytest.mark.parametrize("name", ["", "Web", "a/b", "../a", "a b", "x" * 64, "a\n"])
def test_names(name: str) -> None:
    with pytest.raises(RecipeError, match="is not a name for a recipe"):
        starter(name)
