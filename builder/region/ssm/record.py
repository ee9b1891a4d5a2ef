"""Parameters as they are remembered: versions with their labels, the newest last."""

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.state import Row

# Of a name, beside slashes (Systems Manager User Guide, "Requirements and constraints for parameter names").
NAME = re.compile(r"[A-Za-z0-9_.\-/]+")
LONGEST_NAME = 1011
DEEPEST = 15
MOST_VERSIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a parameter."""

    name: str
    number: int
    record: Mapping[str, Any]
    labels: tuple[str, ...]

    def member(self, name: str) -> Any:
        return self.record.get(name)


def check_name(name: str) -> None:
    """ValidationException for a name that no parameter can have."""
    if NAME.fullmatch(name) is None or (("/" in name) and not name.startswith("/")) or name.endswith("/"):
        raise ServiceError(
            "ValidationException",
            'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
            "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the "
            "following 3 symbols .-_",
        )
    if len(name) > LONGEST_NAME:
        raise ServiceError("ValidationException", f"Parameter name: up to {LONGEST_NAME} characters")
    if re.match(r"/?(aws|ssm)", name, re.IGNORECASE):
        raise ServiceError("AccessDeniedException", f"No access to reserved parameter name: {name}.")
    if name.count("/") > DEEPEST:
        raise ServiceError("HierarchyLevelLimitExceededException", f"Hierarchies have up to {DEEPEST} levels")


def plain(region: Region, name: str) -> str:
    """The name of a parameter that may have been named by its ARN."""
    match = re.fullmatch(r"arn:aws[a-z-]*:ssm:([^:]*):(\d{12}):parameter(/?.+)", name)
    if match is None:
        return name
    if (match[1], match[2]) != (region.name, region.account):
        raise ServiceError("ParameterNotFound", "")
    its = match[3]
    # `parameter/a` is the parameter a or /a: a path keeps its slash only when it is one.
    return its[1:] if its.startswith("/") and its.count("/") == 1 and not _exists(region, its) else its


def _exists(region: Region, name: str) -> bool:
    return bool(versions(region, name))


def versions(region: Region, name: str) -> list[Version]:
    rows = region.state.rows(
        "SELECT * FROM parameters WHERE region = ? AND owner = ? AND name = ? ORDER BY version",
        (region.name, region.account, name),
    )
    return [_version(row) for row in rows]


def all_newest(region: Region) -> list[Version]:
    """The newest version of each parameter, by name."""
    rows = region.state.rows(
        "SELECT *, max(version) FROM parameters WHERE region = ? AND owner = ? GROUP BY name ORDER BY name",
        (region.name, region.account),
    )
    return [_version(row) for row in rows]


def _version(row: Row) -> Version:
    return Version(
        name=row["name"],
        number=row["version"],
        record=json.loads(row["record"]),
        labels=tuple(json.loads(row["labels"])),
    )


def select(region: Region, wanted: str) -> tuple[Version, str]:
    """The version that `NAME`, `NAME:NUMBER` or `NAME:LABEL` means, and its selector."""
    arn = wanted.startswith("arn:")
    head, _, last = wanted.rpartition(":")
    selector = last if (not arn and head) or (arn and wanted.count(":") > 5) else ""
    name = plain(region, wanted.removesuffix(f":{selector}") if selector else wanted)
    found = versions(region, name)
    if not found:
        raise ServiceError("ParameterNotFound", f"Parameter {name} not found.")
    if not selector:
        return found[-1], ""
    for each in found:
        if selector in (str(each.number), *each.labels):
            return each, f":{selector}"
    raise ServiceError(
        "ParameterVersionNotFound", f"Systems Manager could not find version {selector} of {name}. Verify the version."
    )


def described(region: Region, version: Version, selector: str = "", *, decrypted: bool = False) -> dict[str, Any]:
    """As GetParameter has it."""
    value = version.member("Value")
    if version.member("Type") == "SecureString" and not decrypted:
        value = f"kms:{version.member('KeyId')}:{'*' * 16}"
    return {
        "Name": version.name,
        "Type": version.member("Type"),
        "Value": value,
        "Version": version.number,
        "LastModifiedDate": datetime.fromisoformat(version.member("LastModifiedDate")),
        "ARN": arn(region, version.name),
        "DataType": version.member("DataType"),
        **({"Selector": selector} if selector else {}),
    }


def metadata(region: Region, version: Version) -> dict[str, Any]:
    """As DescribeParameters has it, and in part GetParameterHistory."""
    kept = ("Type", "KeyId", "Description", "AllowedPattern", "Tier", "DataType")
    return {
        "Name": version.name,
        "LastModifiedDate": datetime.fromisoformat(version.member("LastModifiedDate")),
        "LastModifiedUser": f"arn:aws:iam::{region.account}:root",
        "Version": version.number,
        "Policies": [],
        **{name: version.member(name) for name in kept if version.member(name)},
    }


def arn(region: Region, name: str) -> str:
    return f"arn:aws:ssm:{region.name}:{region.account}:parameter/{name.removeprefix('/')}"


def tag_resource(region: Region, name: str) -> str:
    """What a parameter is called among the resources that have tags."""
    return f"parameter-{region.name}-{region.account}-{name}"


def tags_of(region: Region, name: str) -> dict[str, str]:
    query = "SELECT key, value FROM tags WHERE resource = ? ORDER BY key"
    return {row["key"]: row["value"] for row in region.state.rows(query, (tag_resource(region, name),))}


def write_labels(database: sqlite3.Connection, region: Region, version: Version, labels: tuple[str, ...]) -> None:
    database.execute(
        "UPDATE parameters SET labels = ? WHERE region = ? AND owner = ? AND name = ? AND version = ?",
        (json.dumps(labels), region.name, region.account, version.name, version.number),
    )
