"""CreateTags, DeleteTags, DescribeTags, and the tags inside a call that makes what they are for."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region, find_own_image
from builder.region.errors import ServiceError

MOST = 50
# What a resource is, by the prefix of its id; of what is no image, its table and EC2's code when it is not there.
KINDS = {
    "ami": "image",
    "aki": "image",
    "ari": "image",
    "i": "instance",
    "import": "import-snapshot-task",
    "key": "key-pair",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
}
TABLES = {
    "i": ("instances", "InvalidInstanceID.NotFound"),
    "import": ("import_tasks", "InvalidConversionTaskId"),
    "key": ("key_pairs", "InvalidKeyPair.NotFound"),
    "sg": ("security_groups", "InvalidGroup.NotFound"),
    "sgr": ("security_group_rules", "InvalidSecurityGroupRuleId.NotFound"),
}


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


def add_tags(database: sqlite3.Connection, resource: str, tags: Mapping[str, str]) -> None:
    """Tags of what has just been made."""
    check_tags(tags)
    database.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(resource, *tag) for tag in tags.items()])


def tags_of(database: sqlite3.Connection, kind: str) -> dict[str, dict[str, str]]:
    """The tags of all resources whose ids begin with `kind`, by id."""
    found: dict[str, dict[str, str]] = {}
    for row in database.execute("SELECT * FROM tags WHERE resource LIKE ? ORDER BY key", (f"{kind}-%",)).fetchall():
        found.setdefault(row["resource"], {})[row["key"]] = row["value"]
    return found


def described_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def tags_in(described: Mapping[str, Any]) -> dict[str, str]:
    """The tags of what is described as EC2 does it."""
    return {each["Key"]: each["Value"] for each in described.get("Tags", ())}


def _check_resources(region: Region, wanted: Mapping[str, Any]) -> list[str]:
    """Each must be there and the caller's own."""
    resources = [str(each) for each in wanted["Resources"]]
    for each in resources:
        prefix = each.partition("-")[0]
        if prefix not in KINDS:
            raise ServiceError("InvalidID", f"The ID '{each}' is not valid")
        if prefix == "snap":
            _check_snapshot(region, each)
            continue
        if prefix not in TABLES:
            find_own_image(region, each)
            continue
        table, code = TABLES[prefix]
        if region.state.row(f"SELECT 1 FROM {table} WHERE id = ?", (each,)) is None:
            raise ServiceError(code, f"The {KINDS[prefix].replace('-', ' ')} ID '{each}' does not exist")
    return resources


def _check_snapshot(region: Region, snapshot_id: str) -> None:
    query = "SELECT owner FROM snapshots WHERE id = ? AND region = ?"
    row = region.state.row(query, (snapshot_id, region.name))
    if row is None or row["owner"] != region.account:
        raise ServiceError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")


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
    rows = region.state.rows(
        "SELECT resource, key, value FROM tags WHERE resource NOT LIKE 'parameter-%' AND resource NOT IN ("
        "SELECT id FROM images WHERE region <> ?1 UNION SELECT id FROM snapshots WHERE region <> ?1 "
        "UNION SELECT id FROM import_tasks WHERE region <> ?1) ORDER BY resource, key",
        (region.name,),
    )
    values = {
        "key": lambda row: [row["key"]],
        "value": lambda row: [row["value"]],
        "resource-id": lambda row: [row["resource"]],
        "resource-type": lambda row: [_kind(row["resource"])],
    }
    found = matching(rows, wanted.get("Filters") or (), values, lambda row: {row["key"]: row["value"]})
    shown, token = page(found, wanted, lambda row: f"{row['resource']} {row['key']}", least=5, most=1000)
    tags = [
        {
            "ResourceId": row["resource"],
            "ResourceType": _kind(row["resource"]),
            "Key": row["key"],
            "Value": row["value"],
        }
        for row in shown
    ]
    return {"Tags": tags, **token}


def _kind(resource: str) -> str:
    return KINDS[resource.partition("-")[0]]
