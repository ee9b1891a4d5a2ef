from pathlib import Path

from builder.recipe.model import Recipe
from builder.recipe.reference import reference

README = Path(__file__).parents[3] / "recipes/README.md"


def test_the_file_is_made_from_the_model() -> None:
    assert README.read_text() == reference(), "run: python -m builder.recipe.reference > recipes/README.md"


def test_every_key_is_there() -> None:
    text = reference()
    names = [field.alias or name for name, field in Recipe.model_fields.items()]
    assert [name for name in names if f"| `{name}` |" not in text and f"[{name}]" not in text] == []
