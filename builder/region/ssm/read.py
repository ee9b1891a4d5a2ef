"""GetParameter, GetParameters, GetParametersByPath, GetParameterHistory, DescribeParameters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from builder.region.ec2.pages import page
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.ssm import record
from builder.region.ssm.record import Version

Values = Callable[[Region, Version], Iterable[str]]


def get_parameter(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    found, selector = record.select(region, wanted["Name"])
    return {"Parameter": record.described(region, found, selector, decrypted=bool(wanted.get("WithDecryption")))}


def get_parameters(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those that there are; the names of the others."""
    if len(wanted["Names"]) > 10:
        raise ServiceError("ValidationException", "GetParameters takes up to 10 names")
    found, missing = [], []
    for name in dict.fromkeys(wanted["Names"]):
        try:
            version, selector = record.select(region, name)
        except ServiceError:
            missing.append(name)
            continue
        found.append(record.described(region, version, selector, decrypted=bool(wanted.get("WithDecryption"))))
    return {"Parameters": found, "InvalidParameters": missing}


def get_parameters_by_path(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those below a path: of its own level or, when that is said, of all."""
    if not wanted["Path"].startswith("/"):
        raise ServiceError("ValidationException", "The parameter doesn't meet the parameter name requirements.")
    path = wanted["Path"].rstrip("/") + "/"
    found = [
        each
        for each in record.all_newest(region)
        if each.name.startswith(path) and (wanted.get("Recursive") or "/" not in each.name.removeprefix(path))
    ]
    filters = wanted.get("ParameterFilters") or ()
    labels = [value for each in filters if each["Key"] == "Label" for value in each.get("Values") or ()]
    if labels:
        histories = [record.versions(region, each.name) for each in found]
        found = [each for history in histories for each in history if set(labels) & set(each.labels)]
    found = _filtered(region, found, [each for each in filters if each["Key"] != "Label"])
    shown, token = _page(found, wanted, most=10)
    decrypted = bool(wanted.get("WithDecryption"))
    return {"Parameters": [record.described(region, each, decrypted=decrypted) for each in shown], **token}


def get_parameter_history(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """All versions that are kept, the oldest first."""
    found = record.versions(region, record.plain(region, wanted["Name"]))
    if not found:
        raise ServiceError("ParameterNotFound", f"Parameter {wanted['Name']} not found.")
    shown, token = _page(found, wanted, most=50)
    decrypted = bool(wanted.get("WithDecryption"))
    return {
        "Parameters": [
            {
                **record.metadata(region, each),
                "Value": record.described(region, each, decrypted=decrypted)["Value"],
                "Labels": list(each.labels),
            }
            for each in shown
        ],
        **token,
    }


def describe_parameters(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The newest versions, without their values."""
    if wanted.get("Filters") and wanted.get("ParameterFilters"):
        raise ServiceError("ValidationException", "You can use either Filters or ParameterFilters in a request.")
    older = [
        {**each, "Option": "BeginsWith" if each["Key"] == "Name" else "Equals"} for each in wanted.get("Filters") or ()
    ]
    found = _filtered(region, record.all_newest(region), wanted.get("ParameterFilters") or older)
    shown, token = _page(found, wanted, most=50)
    told = [{**record.metadata(region, each), "ARN": record.arn(region, each.name)} for each in shown]
    return {"Parameters": told, **token}


# All keys of a filter that a parameter here has something for.
KEYS: Mapping[str, Values] = {
    "Name": lambda region, version: [version.name],
    "Type": lambda region, version: [version.member("Type")],
    "KeyId": lambda region, version: [version.member("KeyId") or ""],
    "Path": lambda region, version: [version.name],
    "Label": lambda region, version: version.labels,
    "Tier": lambda region, version: [version.member("Tier")],
    "DataType": lambda region, version: [version.member("DataType")],
}
OPTIONS: Mapping[str, Callable[[str, str], bool]] = {
    "Equals": str.__eq__,
    "BeginsWith": str.startswith,
    "Contains": str.__contains__,
    "OneLevel": lambda value, path: (
        value.startswith(f"{path.rstrip('/')}/") and "/" not in value.removeprefix(f"{path.rstrip('/')}/")
    ),
    "Recursive": lambda value, path: value.startswith(f"{path.rstrip('/')}/"),
}


def _filtered(region: Region, found: Sequence[Version], filters: Iterable[Mapping[str, Any]]) -> list[Version]:
    left = list(found)
    for each in filters:
        key, values = each["Key"], each.get("Values") or ()
        option = each.get("Option") or ("OneLevel" if key == "Path" else "Equals")
        if key not in KEYS and not key.startswith("tag:"):
            raise ServiceError("InvalidFilterKey", f"The specified key '{key}' isn't valid.")
        if option not in OPTIONS:
            raise ServiceError("InvalidFilterOption", f"The following filter option is not valid: {option}.")
        tests = [(OPTIONS[option], value) for value in values]
        left = [
            version
            for version in left
            if any(test(its, value) for its in _values(region, version, key) for test, value in tests)
            or (not values and list(_values(region, version, key)))
        ]
    return left


def _values(region: Region, version: Version, key: str) -> Iterable[str]:
    if key.startswith("tag:"):
        tags = record.tags_of(region, version.name)
        return [tags[key[4:]]] if key[4:] in tags else []
    return KEYS[key](region, version)


def _page(
    found: Sequence[Version], wanted: Mapping[str, Any], *, most: int
) -> tuple[Sequence[Version], dict[str, str]]:
    asked = {"MaxResults": wanted.get("MaxResults") or most, "NextToken": wanted.get("NextToken")}
    return page(found, asked, lambda each: f"{each.name} {each.number}", least=1, most=most)
