"""Key Management: keys that can be named, looked at, and are in a state. Nothing is encrypted with them here."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from builder.region import jsonwire
from builder.region.ebs.record import default_key
from builder.region.ec2 import settings
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.http import Answer

_KEPT = "kms-key/"
"""Keys are settings of the account, by this and their id."""
_DEFAULT_ALIAS = "alias/aws/ebs"
_SYMMETRIC = "SYMMETRIC_DEFAULT"


def create_key(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    number = secrets.token_hex(16)
    identifier = "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))
    record = {
        "KeyId": identifier,
        "Arn": f"arn:aws:kms:{region.name}:{region.account}:key/{identifier}",
        "CreationDate": time.time(),
        "Description": wanted.get("Description", ""),
        "KeyUsage": wanted.get("KeyUsage", "ENCRYPT_DECRYPT"),
        "KeySpec": wanted.get("KeySpec", _SYMMETRIC),
        "KeyState": "Enabled",
    }
    if (record["KeyUsage"] == "ENCRYPT_DECRYPT") != (record["KeySpec"] == _SYMMETRIC):
        raise ServiceError("ValidationException", "Keys are symmetric for ENCRYPT_DECRYPT, and others for other usages")
    _keep(region, record)
    return {"KeyMetadata": _described(region, record)}


def describe_key(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {"KeyMetadata": _described(region, _find(region, wanted["KeyId"]))}


def enable_key(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return _change(region, wanted["KeyId"], ("Enabled", "Disabled"), "Enabled")


def disable_key(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return _change(region, wanted["KeyId"], ("Enabled", "Disabled"), "Disabled")


def schedule_key_deletion(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    days = wanted.get("PendingWindowInDays", 30)
    date = time.time() + days * 86400
    _change(region, wanted["KeyId"], ("Enabled", "Disabled"), "PendingDeletion", DeletionDate=date)
    found = _find(region, wanted["KeyId"])
    return {"KeyId": found["Arn"], "DeletionDate": date, "KeyState": "PendingDeletion", "PendingWindowInDays": days}


def cancel_key_deletion(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The key is disabled afterwards, as at AWS."""
    _change(region, wanted["KeyId"], ("PendingDeletion",), "Disabled", DeletionDate=None)
    return {"KeyId": _find(region, wanted["KeyId"])["Arn"]}


def _change(region: Region, name: str, states: tuple[str, ...], state: str, **members: Any) -> dict[str, Any]:
    record = _find(region, name)
    if record["Arn"] == default_key(region):
        raise ServiceError("AccessDeniedException", "The key is AWS's own, and cannot be changed")
    if record["KeyState"] not in states:
        raise ServiceError("KMSInvalidStateException", f"{record['Arn']} is {record['KeyState']}")
    _keep(region, {**record, "KeyState": state, **members})
    return {}


def _keep(region: Region, record: Mapping[str, Any]) -> None:
    settings.put(region, f"{_KEPT}{record['KeyId']}", json.dumps(record))


def _find(region: Region, name: str) -> dict[str, Any]:
    """By id, ARN, or the one alias that every account has; keys of other accounts and regions are none here."""
    own = default_key(region)
    identifier = name.removeprefix(f"arn:aws:kms:{region.name}:{region.account}:").removeprefix("key/")
    if identifier in (_DEFAULT_ALIAS, own.rpartition("/")[2]):
        return {
            "KeyId": own.rpartition("/")[2],
            "Arn": own,
            "CreationDate": 0.0,
            "Description": "Default key that protects my EBS volumes when no other key is defined",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeySpec": _SYMMETRIC,
            "KeyState": "Enabled",
        }
    kept = settings.get(region, f"{_KEPT}{identifier}")
    if kept is None:
        raise ServiceError("NotFoundException", f"Key '{name}' does not exist")
    found: dict[str, Any] = json.loads(kept)
    return found


def _described(region: Region, record: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in record.items() if value is not None}
    return {
        **told,
        "AWSAccountId": region.account,
        "Enabled": record["KeyState"] == "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "AWS" if record["Arn"] == default_key(region) else "CUSTOMER",
        "MultiRegion": False,
    }


OPERATIONS: Mapping[str, Callable[[Region, Mapping[str, Any]], dict[str, Any]]] = {
    "CreateKey": create_key,
    "DescribeKey": describe_key,
    "EnableKey": enable_key,
    "DisableKey": disable_key,
    "ScheduleKeyDeletion": schedule_key_deletion,
    "CancelKeyDeletion": cancel_key_deletion,
}


def serve(region: Region, operation: str, body: bytes, request_id: str) -> Answer:
    return jsonwire.serve("kms", OPERATIONS, region, operation, body, request_id)
