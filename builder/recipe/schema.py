"""The JSON Schema of a recipe and of a part, for editors: made from the model, so that it cannot say anything else.

`python -m builder.recipe.schema` writes both into recipes/schema/.
"""

import json
from pathlib import Path
from typing import Any

from builder.catalog.instance_types import names as instance_type_names
from builder.recipe.documents import NOT_IN_A_PART, SHIPPED
from builder.recipe.written import Written

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILES = SHIPPED / "schema"
# Lists in which a text stands once (check.py).
_UNIQUE = (
    "architectures", "virtualization", "instance_types", "packages", "excludes", "authorized_keys", "enable",
    "disable", "mask", "load", "blacklist",
)  # fmt: skip
_TYPES = ("instance_types", "instance_type")


def schema() -> dict[str, Any]:
    """A schema of draft 2020-12 with every description; what only several files together can say is not in it.

    What has to be there is asked of a recipe that stands by itself: one that extends another may say less.
    """
    made = described()
    for table in (made, *made["$defs"].values()):
        for name in _TYPES:
            if name in table["properties"]:
                table["properties"][name]["items"] = {"$ref": "#/$defs/InstanceTypeName"}
    made["$defs"]["InstanceTypeName"] = {"type": "string", "enum": list(instance_type_names())}
    distribution = made["$defs"]["Distribution"].pop("required")
    return {
        **{name: value for name, value in made.items() if name != "required"},
        "required": ["name"],
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "required": [name for name in made["required"] if name != "distribution"],
            "oneOf": [{"required": ["distribution"]}, {"required": ["base"]}],
            "properties": {"distribution": {"required": distribution}},
        },
    }


def part_schema() -> dict[str, Any]:
    """Of a part: a recipe's keys without those that make a recipe of a file, and nothing has to be there."""
    made = {name: value for name, value in schema().items() if name not in ("required", "if", "then")}
    made["title"], made["description"] = "ami-factory part", "Lines of a recipe that many recipes can take in."
    made["properties"] = {name: each for name, each in made["properties"].items() if name not in NOT_IN_A_PART}
    return made


def described() -> dict[str, Any]:
    """The schema of a recipe that stands by itself."""
    made = Written.model_json_schema(by_alias=True, mode="validation")
    made.pop("description", None)
    plain = {name: _plain(value) for name, value in made.items() if name != "title"}
    for table in (plain, *plain["$defs"].values()):
        _refine(table["properties"])
    return {
        "$schema": DIALECT,
        "title": "ami-factory recipe",
        "description": "One recipe, of which several AMIs can be made. See recipes/README.md.",
        **plain,
    }


def _refine(properties: dict[str, Any]) -> None:
    """What check.py adds to the model."""
    for name, each in properties.items():
        if each.get("type") != "array" or "$ref" in each["items"]:
            continue
        if name in _UNIQUE:
            each["uniqueItems"] = True


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


def text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def write(directory: Path = FILES) -> None:
    """Both schemas, as they are published."""
    directory.mkdir(exist_ok=True)
    (directory / "recipe.json").write_text(text(schema()))
    (directory / "part.json").write_text(text(part_schema()))


if __name__ == "__main__":
    write()
