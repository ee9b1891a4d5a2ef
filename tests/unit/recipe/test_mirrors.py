"""Mirrors: the environment's before the recipe's, and neither in any key."""

from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.recipe.load import load_recipe
from builder.recipe.mirrors import Mirror, mirrors
from builder.recipe.model import Recipe
from tests.support.plans import keys, planned, prepared

ROOT = Path(__file__).parents[3]
LOCAL = "file:///srv/fedora/$releasever/$basearch/os/"
INNER = "http://mirror.example/fedora/updates/$releasever/"


def fedora(**written: str) -> Recipe:
    return prepared("fedora").loaded.recipe.model_copy(update={"mirrors": written})


def test_none() -> None:
    assert mirrors(fedora(), {"PATH": "/usr/bin"}) == ()


def test_the_environment_comes_first() -> None:
    environment = {"AMI_FACTORY_MIRROR_FEDORA": LOCAL, "AMI_FACTORY_MIRROR_ROCKY_BASEOS": LOCAL}
    assert mirrors(fedora(fedora=INNER, updates=INNER), environment) == (
        Mirror(repository="fedora", address=LOCAL, origin="AMI_FACTORY_MIRROR_FEDORA"),
        Mirror(repository="updates", address=INNER, origin="mirrors.updates"),
    )


def test_an_empty_variable_says_nothing() -> None:
    assert mirrors(fedora(fedora=INNER), {"AMI_FACTORY_MIRROR_FEDORA": " "}) == (
        Mirror(repository="fedora", address=INNER, origin="mirrors.fedora"),
    )


def test_what_is_made_here_has_no_mirror() -> None:
    assert mirrors(prepared("quickstart").loaded.recipe, {"AMI_FACTORY_MIRROR_QUICKSTART": LOCAL}) == ()


@pytest.mark.parametrize("address", ["mirror.example", "rsync://mirror.example/", "https://me:secret@mirror.example/"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(RecipeError, match=r"^AMI_FACTORY_MIRROR_UPDATES: .* is not the address of a repository$"):
        mirrors(fedora(), {"AMI_FACTORY_MIRROR_UPDATES": address})


def test_no_key_and_no_lock_depends_on_them() -> None:
    ready = prepared("fedora")
    assert keys(planned(ready, recipe=fedora(fedora=LOCAL, updates=INNER))) == keys(planned(ready))


@pytest.mark.parametrize(
    ("recipe", "line", "said"),
    [
        (
            "fedora",
            f'fedra = "{LOCAL}"',
            'mirrors.fedra: "fedra" is no repository of this recipe; did you mean "fedora"?',
        ),
        ("quickstart", f'quickstart = "{LOCAL}"', "mirrors.quickstart: quickstart is made here, from the host's own"),
        ("fedora", 'fedora = "mirror.example"', 'mirrors.fedora: "mirror.example" is not the address of a mirror'),
    ],
    ids=["no repository", "made here", "no address"],
)
def test_what_a_recipe_cannot_say(tmp_path: Path, recipe: str, line: str, said: str) -> None:
    text = (ROOT / f"recipes/{recipe}.toml").read_text()
    (tmp_path / "kernels").symlink_to(ROOT / "kernels")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / recipe).symlink_to(ROOT / "recipes" / recipe)
    path = tmp_path / f"recipes/{recipe}.toml"
    path.write_text(f"{text}\n[mirrors]\n{line}\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert f": {said}" in error.value.brief
