"""CreateTags, DeleteTags, DescribeTags, and the tags inside a RegisterImage call."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region, check_id, find_own_image
from builder.region.errors import ServiceError

MOST = 50


def tags_of_specifications(specifications: Sequence[Mapping[str, Any]], resource: str) -> dict[str, str]:
    """The tags of all specifications for `resource`; one for anything else is refused, not dropped."""
    tags: list[Mapping[str, Any]] = []
    for each in specifications:
        if each.get("ResourceType") != resource:
            raise ServiceError(
                "InvalidParameterValue",
                f"'{each.get('ResourceType')}' is not a valid taggable resource type for this operation.",
            )
        tags += each.get("Tags") or ()
    return _unique(tags)


def _unique(tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in tags:
        key = each.get("Key") or ""
        if key in found:
            raise ServiceError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        found[key] = each.get("Value") or ""
    return found


def check_tags(tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        if not key:
            raise ServiceError("InvalidParameterValue", "Tag key cannot be empty")
        if len(key) > 128:
            raise ServiceError("InvalidParameterValue", f"Tag key exceeds the maximum length of 128 characters: {key}")
        if len(value) > 256:
            raise ServiceError("InvalidParameterValue", f"The value of tag {key} has more than 256 characters")
        if key.lower().startswith("aws:"):
            raise ServiceError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
    if len(tags) > MOST:
        raise ServiceError("TagLimitExceeded", f"More than {MOST} tags specified")


def _check_resources(region: Region, wanted: Mapping[str, Any]) -> list[str]:
    """Only images have tags here; each must be there and the caller's own."""
    resources = [str(each) for each in wanted["Resources"]]
    for each in resources:
        if not each.startswith(("ami-", "aki-", "ari-")):
            raise ServiceError("InvalidID", f"The ID '{each}' is not valid")
        check_id(each)
        find_own_image(region, each)
    return resources


def create_tags(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    tags = _unique(wanted["Tags"])
    check_tags(tags)
    with region.state.transaction() as database:
        for each in _check_resources(region, wanted):
            database.executemany(
                "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                [(each, *tag) for tag in tags.items()],
            )
            if len(database.execute("SELECT key FROM tags WHERE resource = ?", (each,)).fetchall()) > MOST:
                raise ServiceError("TagLimitExceeded", f"Resource {each} would have more than {MOST} tags")
    return {}


def delete_tags(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A tag with a value goes only if it has that value; without tags, all go."""
    tags = wanted.get("Tags")
    with region.state.transaction() as database:
        for each in _check_resources(region, wanted):
            if tags is None:
                database.execute("DELETE FROM tags WHERE resource = ?", (each,))
            for tag in tags or ():
                query, values = "DELETE FROM tags WHERE resource = ? AND key = ?", [each, tag.get("Key") or ""]
                if tag.get("Value") is not None:
                    query, values = f"{query} AND value = ?", [*values, tag["Value"]]
                database.execute(query, values)
    return {}


def describe_tags(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    rows = region.state.rows("SELECT resource, key, value FROM tags ORDER BY resource, key")
    values = {
        "key": lambda row: [row["key"]],
        "value": lambda row: [row["value"]],
        "resource-id": lambda row: [row["resource"]],
        "resource-type": lambda row: ["image"],
    }
    found = matching(rows, wanted.get("Filters") or (), values, lambda row: {row["key"]: row["value"]})
    shown, token = page(found, wanted, lambda row: f"{row['resource']} {row['key']}", least=5, most=1000)
    tags = [
        {"ResourceId": row["resource"], "ResourceType": "image", "Key": row["key"], "Value": row["value"]}
        for row in shown
    ]
    return {"Tags": tags, **token}
