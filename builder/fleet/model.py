"""The fleet file: which recipes, and which of their variants, a night builds. Read with the errors of a recipe."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from builder.catalog.instance_types import instance_type
from builder.catalog.kernels import Architecture
from builder.catalog.tables import Fault, Table, told, validated
from builder.errors import RecipeError
from builder.formats.toml import read
from builder.recipe.model import BootLevel, Virtualization
from builder.recipe.words import Name


class Member(Table):
    """A recipe of the fleet. What is left out is as the recipe has it."""

    recipe: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="The recipe's file, from the fleet file's directory."
    )
    architectures: tuple[Architecture, ...] = Field((), description="Only these architectures.")
    virtualization: tuple[Virtualization, ...] = Field((), description="Only these kinds.")
    instance_types: tuple[str, ...] = Field((), description="These instance types instead.")
    boot: BootLevel | None = Field(None, description="Another level of the boot proof.")


class Fleet(Table):
    """What a night builds."""

    name: Name = Field(description="The fleet's name: of its nights, and of its lock.")
    description: str = Field("", max_length=255, description="What it is for.")
    recipes: tuple[Member, ...] = Field(min_length=1, description="Its recipes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A fleet that is right, and where its recipes are."""

    fleet: Fleet
    path: Path
    paths: tuple[Path, ...]
    """Of each member its recipe's file."""


def load_fleet(path: Path) -> LoadedFleet:
    """Read a fleet file. RecipeError holds every finding as `FILE:LINE:COLUMN: key: message`."""
    document = read(path)
    fleet = validated(Fleet, document)
    paths = tuple(path.parent / each.recipe for each in fleet.recipes)
    found = [*_missing(paths), *_twice(fleet.recipes), *_no_types(fleet.recipes)]
    if found:
        raise told(document, found)
    return LoadedFleet(fleet=fleet, path=path, paths=paths)


def _missing(paths: tuple[Path, ...]) -> Iterator[Fault]:
    for number, each in enumerate(paths):
        if not each.is_file():
            yield Fault(key=("recipes", number, "recipe"), message=f"there is no {each}")


def _twice(members: tuple[Member, ...]) -> Iterator[Fault]:
    seen: dict[Member, int] = {}
    for number, each in enumerate(members):
        if each in seen:
            yield Fault(key=("recipes", number), message=f"the same as recipes[{seen[each]}]")
        seen.setdefault(each, number)


def _no_types(members: tuple[Member, ...]) -> Iterator[Fault]:
    for number, each in enumerate(members):
        for place, name in enumerate(each.instance_types):
            try:
                instance_type(name)
            except RecipeError as error:
                yield Fault(key=("recipes", number, "instance_types", place), message=error.brief)
