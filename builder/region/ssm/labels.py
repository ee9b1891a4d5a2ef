"""Labels of versions, each at one version of its parameter; and the tags of parameters."""

import re
from collections.abc import Mapping
from typing import Any

from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.ssm import record
from builder.region.ssm.record import Version

MOST_LABELS = 10
MOST_TAGS = 50


def label_parameter_version(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Put labels on a version, the newest when none is said; they leave the version that had them."""
    labels = tuple(dict.fromkeys(wanted["Labels"]))
    # Systems Manager User Guide, "Working with parameter labels": what a label is not.
    wrong = [
        each
        for each in labels
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.\-]*", each) is None or re.match(r"aws|ssm", each, re.IGNORECASE)
    ]
    good = tuple(each for each in labels if each not in wrong)
    with region.state.transaction() as database:
        found = _versions(region, wanted["Name"])
        chosen = _version(found, wanted.get("ParameterVersion"))
        if len({*chosen.labels, *good}) > MOST_LABELS:
            raise ServiceError("ParameterVersionLabelLimitExceeded", f"A version has up to {MOST_LABELS} labels")
        for each in found:
            left = tuple(label for label in each.labels if label not in good)
            if each.number == chosen.number:
                left = (*left, *good)
            if left != each.labels:
                record.write_labels(database, region, each, left)
    return {"InvalidLabels": wrong, "ParameterVersion": chosen.number}


def unlabel_parameter_version(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        chosen = _version(_versions(region, wanted["Name"]), wanted["ParameterVersion"])
        removed = [each for each in wanted["Labels"] if each in chosen.labels]
        left = tuple(each for each in chosen.labels if each not in removed)
        record.write_labels(database, region, chosen, left)
    return {"RemovedLabels": removed, "InvalidLabels": [each for each in wanted["Labels"] if each not in removed]}


def _versions(region: Region, name: str) -> list[Version]:
    found = record.versions(region, record.plain(region, name))
    if not found:
        raise ServiceError("ParameterNotFound", f"Parameter {name} not found.")
    return found


def _version(found: list[Version], number: int | None) -> Version:
    for each in found:
        if each.number == number:
            return each
    if number is None:
        return found[-1]
    raise ServiceError("ParameterVersionNotFound", f"{found[0].name} has no version {number}")


def _tagged(region: Region, wanted: Mapping[str, Any]) -> str:
    if wanted["ResourceType"] != "Parameter":
        raise ServiceError("InvalidResourceType", "The local region has tags of resources of type Parameter")
    name = record.plain(region, wanted["ResourceId"])
    if not record.versions(region, name):
        raise ServiceError("InvalidResourceId", f"The parameter {name} does not exist")
    return name


def add_tags(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        name = _tagged(region, wanted)
        tags = {each["Key"]: each["Value"] for each in wanted["Tags"]}
        if len({**record.tags_of(region, name), **tags}) > MOST_TAGS:
            raise ServiceError("TooManyTagsError", f"A parameter has up to {MOST_TAGS} tags")
        database.executemany(
            "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            [(record.tag_resource(region, name), *each) for each in tags.items()],
        )
    return {}


def remove_tags(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        resource = record.tag_resource(region, _tagged(region, wanted))
        database.executemany(
            "DELETE FROM tags WHERE resource = ? AND key = ?", [(resource, each) for each in wanted["TagKeys"]]
        )
    return {}


def list_tags(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    tags = record.tags_of(region, _tagged(region, wanted))
    return {"TagList": [{"Key": key, "Value": value} for key, value in tags.items()]}
