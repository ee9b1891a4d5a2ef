"""PutParameter, DeleteParameter, DeleteParameters."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from builder.region.ec2.region import Region, all_images
from builder.region.ec2.tags import add_tags
from builder.region.errors import ServiceError
from builder.region.ssm import record
from builder.region.ssm.record import MOST_VERSIONS, Version

IMAGE = "aws:ec2:image"
DATA_TYPES = ("text", IMAGE, "aws:ssm:integration")
LARGEST = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}


def put_parameter(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A new parameter or, with Overwrite, a new version of one.

    As at AWS, an answer is no promise for the data type aws:ec2:image: the image is looked for afterwards, and when it
    is not there, or is not available, nothing is kept.
    """
    name = record.plain(region, wanted["Name"])
    record.check_name(name)
    tier = wanted.get("Tier") or "Standard"
    if len(wanted["Value"].encode()) > LARGEST[tier]:
        raise ServiceError(
            "ValidationException", f"{tier} tier parameters support a maximum parameter value of {LARGEST[tier]} bytes."
        )
    if wanted.get("Policies"):
        raise ServiceError("UnsupportedOperation", "The local region keeps no policies of parameters")
    with region.state.transaction() as database:
        found = record.versions(region, name)
        if found and not wanted.get("Overwrite"):
            raise ServiceError(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to "
                "true.",
            )
        if found and wanted.get("Tags"):
            raise ServiceError(
                "ValidationException", "Invalid request: tags and overwrite can't be used together. To create a "
                "parameter with tags, please remove overwrite flag."
            )  # fmt: skip
        told = _record(region, wanted, found[-1] if found else None)
        number = found[-1].number + 1 if found else 1
        if told["DataType"] == IMAGE and not _is_there(region, told["Value"]):
            return {"Version": number, "Tier": tier}
        if len(found) >= MOST_VERSIONS:
            _drop_oldest(region, found)
        database.execute(
            "INSERT INTO parameters VALUES (?, ?, ?, ?, ?, '[]')",
            (region.name, region.account, name, number, json.dumps(told)),
        )
        tags = {each["Key"]: each["Value"] for each in wanted.get("Tags") or ()}
        add_tags(database, record.tag_resource(region, name), tags)
    return {"Version": number, "Tier": tier}


def _record(region: Region, wanted: Mapping[str, Any], before: Version | None) -> dict[str, Any]:
    kind = wanted.get("Type") or (before.member("Type") if before else None)
    if kind is None:
        raise ServiceError("ValidationException", "A parameter type is required when you create a parameter.")
    data_type = wanted.get("DataType") or (before.member("DataType") if before else "text")
    if data_type not in DATA_TYPES:
        raise ServiceError(
            "ValidationException", f"The following data type is not supported: {data_type} (Data type names are all "
            f"lowercase.) The list of supported data types is: {list(DATA_TYPES)}"
        )  # fmt: skip
    if before is not None and (kind, data_type) != (before.member("Type"), before.member("DataType")):
        raise ServiceError("HierarchyTypeMismatchException", "A parameter keeps its type and its data type")
    if wanted.get("KeyId") and kind != "SecureString":
        raise ServiceError("ValidationException", "KeyId is required for SecureString type parameter only.")
    if data_type == IMAGE and (
        kind != "String" or re.fullmatch(r"ami-([0-9a-f]{8}|[0-9a-f]{17})", wanted["Value"]) is None
    ):
        raise ServiceError(
            "ValidationException", f"A parameter of data type {IMAGE} is a String with the id of an image, such as "
            "ami-12345abcdeexample"
        )  # fmt: skip
    _check_pattern(wanted)
    key = {"KeyId": wanted.get("KeyId") or "alias/aws/ssm"} if kind == "SecureString" else {}
    kept = ("Description", "AllowedPattern")
    return {
        "Type": kind,
        "Value": wanted["Value"],
        "DataType": data_type,
        "Tier": wanted.get("Tier") or "Standard",
        "LastModifiedDate": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{name: wanted[name] for name in kept if wanted.get(name)},
        **key,
    }


def _check_pattern(wanted: Mapping[str, Any]) -> None:
    pattern = wanted.get("AllowedPattern")
    if not pattern:
        return
    try:
        fits = re.fullmatch(pattern, wanted["Value"])
    except re.error as error:
        raise ServiceError(
            "InvalidAllowedPatternException", f"The pattern is not a regular expression: {error}"
        ) from error
    if fits is None:
        raise ServiceError(
            "ParameterPatternMismatchException",
            f"Parameter value, cannot be validated against allowedPattern: {pattern}",
        )


def _is_there(region: Region, image_id: str) -> bool:
    """The caller could start an instance of it."""
    return any(
        each.id == image_id and each.state == "available" and each.may_be_launched_by(region.account)
        for each in all_images(region)
    )


def _drop_oldest(region: Region, found: list[Version]) -> None:
    """Room for one version more: the oldest goes, but not when it has a label."""
    if found[0].labels:
        raise ServiceError(
            "ParameterMaxVersionLimitExceeded",
            f"You attempted to create a new version of {found[0].name} by calling PutParameter with the overwrite "
            f"flag. Version {found[0].number}, the oldest version, can't be deleted because it has a label "
            "associated with it. Move the label to another version of the parameter, and try again.",
        )
    with region.state.transaction() as database:
        database.execute(
            "DELETE FROM parameters WHERE region = ? AND owner = ? AND name = ? AND version = ?",
            (region.name, region.account, found[0].name, found[0].number),
        )


def delete_parameter(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    if not _delete(region, wanted["Name"]):
        raise ServiceError("ParameterNotFound", f"Parameter {wanted['Name']} not found.")
    return {}


def delete_parameters(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    deleted = [each for each in dict.fromkeys(wanted["Names"]) if _delete(region, each)]
    return {
        "DeletedParameters": deleted,
        "InvalidParameters": [each for each in dict.fromkeys(wanted["Names"]) if each not in deleted],
    }


def _delete(region: Region, name: str) -> bool:
    name = record.plain(region, name)
    with region.state.transaction() as database:
        gone = database.execute(
            "DELETE FROM parameters WHERE region = ? AND owner = ? AND name = ?", (region.name, region.account, name)
        ).rowcount
        database.execute("DELETE FROM tags WHERE resource = ?", (record.tag_resource(region, name),))
    return gone > 0
