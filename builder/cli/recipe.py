"""The verbs recipe schema and recipe new."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from builder.cli import output
from builder.cli.usage import NoVerbIsHelp
from builder.errors import RecipeError

app = typer.Typer(cls=NoVerbIsHelp, help="Start a recipe, or print the schema of one.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors.

    \b
    Example:
      ami-factory recipe schema > recipe.schema.json
    """
    from builder.recipe.schema import schema as recipe_schema

    output.result(json_module.dumps(recipe_schema(), indent=2))


@app.command()
def new(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file to write: recipes/NAME.toml", show_default=False)
    ],
) -> None:
    """Write a recipe to start from; stdout: its path.

    \b
    Example:
      ami-factory recipe new recipes/web.toml
    """
    from builder.recipe.starter import starter

    if path.suffix != ".toml":
        raise RecipeError(f"{path}: a recipe's name ends in .toml")
    text = starter(path.stem)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{path} exists already", hint="choose another name") from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be written: {error.strerror}") from None
    output.say(f"next: edit it, then: ami-factory check {path}")
    output.result(str(path))
