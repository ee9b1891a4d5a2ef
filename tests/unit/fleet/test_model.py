"""The fleet file: what is refused, and where."""

from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.fleet.model import Member, load_fleet

GOOD = """\
name = "night"
[[recipes]]
recipe = "web.toml"
virtualization = ["pv"]
[[recipes]]
recipe = "web.toml"
virtualization = ["hvm"]
instance_types = ["t3.micro"]
boot = "full"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "web.toml").write_text("")
    return tmp_path / "fleet.toml"


def test_a_good_one(place: Path) -> None:
    place.write_text(GOOD)
    loaded = load_fleet(place)
    assert (loaded.fleet.name, loaded.paths) == ("night", (place.parent / "web.toml",) * 2)
    assert loaded.fleet.recipes == (
        Member(recipe="web.toml", virtualization=("pv",)),
        Member(recipe="web.toml", virtualization=("hvm",), instance_types=("t3.micro",), boot="full"),
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('"web.toml"', '"wbe.toml"', 3, "recipes[0].recipe: there is no "),
        ('["pv"]', '["hvm"]\ninstance_types = ["t3.micro"]\nboot = "full"', 7, "recipes[1]: the same as recipes[0]"),
        ('["t3.micro"]', '["t3.mikro"]', 8, 'recipes[1].instance_types[0]: "t3.mikro" is not an instance type'),
        ('["pv"]', '["pc"]', 4, 'recipes[0].virtualization[0]: "pc" is not one of pv, hvm'),
        ('boot = "full"', 'boots = "full"', 9, 'recipes[1].boots: unknown key; did you mean "boot"?'),
        ('"night"', '"Night"', 1, 'name: "Night" is not a name of lower case letters'),
        ('name = "night"\n', "", 1, '"name" is missing'),
        ("[[recipes]]", "[[recipe]]", 2, "recipe: unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(place: Path, old: str, new: str, line: int, says: str) -> None:
    place.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(RecipeError) as raised:
        load_fleet(place)
    lines = [raised.value.brief, *raised.value.detail.splitlines()]
    assert any(each.startswith(f"{place}:{line}:") and says in each for each in lines), lines


def test_all_that_is_wrong_is_said_at_once(place: Path) -> None:
    place.write_text(GOOD.replace('"web.toml"', '"no.toml"').replace("t3.micro", "t3.mikro"))
    with pytest.raises(RecipeError) as raised:
        load_fleet(place)
    assert [each.split(": ")[1] for each in (raised.value.brief, *raised.value.detail.splitlines())] == [
        "recipes[0].recipe",
        "recipes[1].recipe",
        "recipes[1].instance_types[0]",
    ]
