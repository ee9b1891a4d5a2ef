"""Where a recipe says something: for messages about what was read long ago."""

from builder.errors import RecipeError
from builder.formats.toml import read
from builder.recipe.load import Loaded


def place_of(loaded: Loaded, key: str) -> str:
    """FILE:LINE:COLUMN of a key such as `volume.kms_key`, in the first of the recipe's files and parts that has it; ""
    where none says it, so that it is at its default."""
    wanted = tuple(key.split("."))
    for path in (*loaded.files, *loaded.parts):
        try:
            found = read(path).positions.get(wanted)
        except RecipeError:  # it was changed meanwhile
            continue
        if found is not None:
            return str(found)
    return ""
