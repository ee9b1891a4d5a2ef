"""Mirrors: other addresses to take a recipe's repositories from, as the recipe or the environment says.

Where packages come from is no part of any key: what is installed is pinned by the lock, and signed. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from builder.catalog.mirrors import mirror_variable
from builder.errors import RecipeError
from builder.formats.toml import printable
from builder.recipe.model import Recipe
from builder.recipe.words import MIRROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What a repository is taken from instead of the address in its table."""

    repository: str
    address: str
    """Of the directory that holds repodata/; $releasever and $basearch are filled in."""
    origin: str
    """Who says so: the variable of the environment, or the recipe's key."""


def mirrors(recipe: Recipe, environment: Mapping[str, str]) -> tuple[Mirror, ...]:
    """The mirrors of a recipe's repositories, in their order; the environment's come before the recipe's.

    A variable that names no repository of this recipe is another recipe's. RecipeError for one that is no address.
    """
    found = []
    for each in recipe.distribution.repositories:
        variable = mirror_variable(each.id)
        if each.repack:
            continue
        if given := environment.get(variable, "").strip():
            found.append(Mirror(repository=each.id, address=_checked(variable, given), origin=variable))
        elif each.id in recipe.mirrors:
            found.append(Mirror(repository=each.id, address=recipe.mirrors[each.id], origin=f"mirrors.{each.id}"))
    return tuple(found)


def _checked(variable: str, address: str) -> str:
    if not re.fullmatch(MIRROR, address):
        raise RecipeError(
            f"{variable}: {printable(address)!r} is not the address of a repository",
            hint="write the directory that holds repodata/, starting with https://, http://, ftp:// or file:///, "
            "without a password",
        )
    return address
