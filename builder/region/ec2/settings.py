"""What an account has settled for its images, snapshots and volumes in a region: public access, encryption."""

from collections.abc import Mapping
from typing import Any

from builder.region.ebs.record import default_key
from builder.region.ec2.region import Region

IMAGES_PUBLIC = "images-public"
SNAPSHOTS_PUBLIC = "snapshots-public"
ENCRYPTION = "encryption-by-default"


def get(region: Region, name: str) -> str | None:
    query = "SELECT value FROM account_settings WHERE region = ? AND owner = ? AND name = ?"
    row = region.state.row(query, (region.name, region.account, name))
    return str(row["value"]) if row is not None else None


def put(region: Region, name: str, value: str) -> None:
    with region.state.transaction() as database:
        database.execute(
            "INSERT OR REPLACE INTO account_settings VALUES (?, ?, ?, ?)", (region.name, region.account, name, value)
        )


def encrypts(region: Region) -> bool:
    """New volumes and snapshots of the account are encrypted, said or not."""
    return get(region, ENCRYPTION) == "true"


def get_image_block(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Accounts that had public images before 2023 begin with it off; so does this one."""
    del wanted
    return {"ImageBlockPublicAccessState": get(region, IMAGES_PUBLIC) or "unblocked", "ManagedBy": "account"}


def enable_image_block(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    put(region, IMAGES_PUBLIC, wanted["ImageBlockPublicAccessState"])
    return {"ImageBlockPublicAccessState": wanted["ImageBlockPublicAccessState"]}


def disable_image_block(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    put(region, IMAGES_PUBLIC, "unblocked")
    return {"ImageBlockPublicAccessState": "unblocked"}


def get_snapshot_block(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    return {"State": get(region, SNAPSHOTS_PUBLIC) or "unblocked", "ManagedBy": "account"}


def enable_snapshot_block(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    put(region, SNAPSHOTS_PUBLIC, wanted["State"])
    return {"State": wanted["State"]}


def disable_snapshot_block(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    put(region, SNAPSHOTS_PUBLIC, "unblocked")
    return {"State": "unblocked"}


def get_encryption(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    return {"EbsEncryptionByDefault": encrypts(region), "SseType": "sse-ebs"}


def enable_encryption(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    put(region, ENCRYPTION, "true")
    return {"EbsEncryptionByDefault": True}


def disable_encryption(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    put(region, ENCRYPTION, "false")
    return {"EbsEncryptionByDefault": False}


def get_default_key(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del wanted
    return {"KmsKeyId": default_key(region)}
