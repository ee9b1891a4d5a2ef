"""Limits of a recipe as the numbers that hold: seconds, bytes, tasks. Pure."""

from collections.abc import Iterable, Mapping

from builder.errors import RecipeError
from builder.recipe.model import Recipe
from builder.recipe.system import Limits
from builder.recipe.words import parse_duration, parse_size

NAMES = tuple(Limits.model_fields)


def limit_numbers(*tables: Limits) -> dict[str, int]:
    """What is said of each limit, later tables first."""
    found: dict[str, int] = {}
    for table in tables:
        for name in NAMES:
            value = getattr(table, name)
            if value is not None:
                found[name] = _number(name, value)
    return found


def limits_of(recipe: Recipe, script: int | None = None) -> dict[str, int]:
    """The limits of a recipe's steps, or of the one of scripts[script]."""
    own = () if script is None else (each.limits for each in recipe.scripts[script : script + 1])
    return limit_numbers(recipe.limits, *own)


def parse_limits(options: Iterable[str]) -> Mapping[str, int]:
    """NAME=VALUE of the command line. RecipeError with what is wrong."""
    from pydantic import ValidationError

    given = {}
    for each in options:
        name, _, value = each.partition("=")
        if name not in NAMES:
            raise RecipeError(f'--limit: "{name[:60]}" is not a limit', hint=f"choose from {', '.join(NAMES)}")
        given[name] = int(value) if name == "processes" and value.isdecimal() else value
    try:
        return limit_numbers(Limits.model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"--limit {first['loc'][0]}: {message}", hint="such as --limit time=2h --limit memory=8GiB"
        ) from None


def _number(name: str, value: str | int) -> int:
    if isinstance(value, int):
        return value
    return parse_duration(value) if name == "time" else parse_size(value)
