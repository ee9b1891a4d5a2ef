"""The JSON Schema of a recipe, for editors: made from the model, so that it cannot say anything else."""

from typing import Any

from builder.recipe.model import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """A schema of draft 2020-12 with every description; what only several keys together can say is not in it.

    What has to be there is asked of a recipe that stands by itself: one that extends another may say less.
    """
    made = described()
    distribution = made["$defs"]["Distribution"].pop("required")
    return {
        **{name: value for name, value in made.items() if name != "required"},
        "if": {"not": {"required": ["extends"]}},
        "then": {"required": made["required"], "properties": {"distribution": {"required": distribution}}},
    }


def described() -> dict[str, Any]:
    """The schema of a recipe that stands by itself."""
    made = Recipe.model_json_schema(by_alias=True, mode="validation")
    made.pop("description", None)
    return {
        "$schema": DIALECT,
        "title": "ami-factory recipe",
        "description": "One recipe, of which several AMIs can be made. See recipes/README.md.",
        **{name: _plain(value) for name, value in made.items() if name != "title"},
    }


def _plain(value: Any) -> Any:
    """Without pydantic's titles, which only repeat the names, and without null, which TOML does not have."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {
        name: _plain(inner)
        for name, inner in value.items()
        if not (name == "title" and isinstance(inner, str)) and not (name == "default" and inner is None)
    }
    choices = plain.get("anyOf")
    if isinstance(choices, list):
        left = [choice for choice in choices if choice != {"type": "null"}]
        if len(left) == 1:
            del plain["anyOf"]
            return {**left[0], **plain}
    return plain
