"""The verbs recipe schema, recipe new and recipe show."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from builder.catalog.instance_types import instance_type as find_type
from builder.cli import output
from builder.cli.usage import NoVerbIsHelp
from builder.errors import RecipeError
from builder.formats.toml import printable
from builder.recipe.model import VIRTUALIZATIONS

app = typer.Typer(cls=NoVerbIsHelp, help="Start a recipe, show it merged, or print its schema.")


@app.command()
def schema(
    part: Annotated[bool, typer.Option("--part", help="Of a part, not of a recipe.")] = False,
) -> None:
    """Print the JSON Schema of recipes, for editors.

    \b
    Example:
      ami-factory recipe schema > recipe.schema.json
    """
    from builder.recipe.schema import part_schema
    from builder.recipe.schema import schema as recipe_schema

    output.result(json_module.dumps(part_schema() if part else recipe_schema(), indent=2))


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's file.", show_default=False)],
    arch: Annotated[str, typer.Option("--arch", metavar="NAME", help="As it is for x86_64 or i386.")] = "",
    virtualization: Annotated[
        str, typer.Option("--virtualization", metavar="KIND", help="As it is for pv or hvm.")
    ] = "",
    instance_type: Annotated[
        str, typer.Option("--instance-type", metavar="TYPE", help="As it is for this instance type.")
    ] = "",
) -> None:
    """Print what a recipe's files come to: one TOML, with the file and line that each value is from.

    Without an option what stands under a condition is left out; with one, the recipe's first value of the others.

    \b
    Example:
      ami-factory recipe show recipes/web-server.toml
    """
    from builder.recipe.load import load_recipe
    from builder.recipe.show import merged_text

    loaded = load_recipe(path)
    if arch or virtualization or instance_type:
        recipe = loaded.recipe
        loaded = loaded.variant(
            architecture=_one(arch, ("x86_64", "i386"), "--arch") or recipe.architectures[0],
            virtualization=_one(virtualization, VIRTUALIZATIONS, "--virtualization") or recipe.virtualization[0],
            instance_type=find_type(instance_type).name if instance_type else recipe.instance_types[0],
        )
    output.result(merged_text(loaded.layer).removesuffix("\n"))


def _one(word: str, known: tuple[str, ...], option: str) -> str:
    if word and word not in known:
        raise RecipeError(f'{option}: "{printable(word)}" is not one', hint=f"choose from {', '.join(known)}")
    return word


@app.command()
def new(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file to write: recipes/NAME.toml", show_default=False)
    ],
    extends: Annotated[
        str, typer.Option("--extends", metavar="RECIPE", help="Start from this recipe.", show_default=False)
    ] = "",
    part: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="PART", help="Take this part in. Can be repeated.", show_default=False),
    ] = None,
) -> None:
    """Write a recipe to start from; stdout: its path.

    \b
    Example:
      ami-factory recipe new recipes/web.toml
      ami-factory recipe new web.toml --extends quickstart.toml --part parts/web-server.toml
    """
    from builder.recipe.documents import require
    from builder.recipe.starter import starter

    if path.suffix != ".toml":
        raise RecipeError(f"{path}: a recipe's name ends in .toml")
    require(path, extends, part or ())
    text = starter(path.stem, extends=extends, parts=tuple(part or ()))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{path} exists already", hint="choose another name") from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be written: {error.strerror}") from None
    output.say(f"next: edit it, then: ami-factory check {path}")
    output.result(str(path))
