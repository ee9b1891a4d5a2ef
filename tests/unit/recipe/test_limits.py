"""Limits of recipes and of the command line."""

import pytest

from builder.errors import RecipeError
from builder.recipe.limits import limit_numbers, parse_limits
from builder.recipe.system import Limits


def test_a_script_over_its_recipe() -> None:
    recipe = Limits.model_validate({"time": "1h", "disk": "2GiB"})
    script = Limits.model_validate({"time": "90s", "processes": 64})
    assert limit_numbers(recipe, script) == {"time": 90, "disk": 2 * 2**30, "processes": 64}


def test_the_command_line() -> None:
    assert parse_limits(["time=2h", "memory=512MiB", "processes=99"]) == {
        "time": 7200, "memory": 512 * 2**20, "processes": 99,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("speed=9", '--limit: "speed" is not a limit'),
        ("time=soon", '--limit time: "soon" is not a time: write a whole number with s, min or h, such as "10min"'),
        ("memory", '--limit memory: "" is not a size: write a whole number with MiB or GiB, such as "2048MiB"'),
        ("processes=0", "--limit processes: Input should be greater than or equal to 8"),
    ],
)
def test_refused(option: str, said: str) -> None:
    with pytest.raises(RecipeError) as failed:
        parse_limits([option])
    assert failed.value.brief == said
