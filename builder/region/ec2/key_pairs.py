"""CreateKeyPair, ImportKeyPair, DescribeKeyPairs, DeleteKeyPair."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from builder.region.ec2 import public_keys
from builder.region.ec2.filters import matching
from builder.region.ec2.public_keys import PublicKey
from builder.region.ec2.region import Region, new_id, now
from builder.region.ec2.tags import add_tags, described_tags, tags_of, tags_of_specifications
from builder.region.errors import ServiceError
from builder.region.state import Row

# It ends up in a line of authorized_keys, and in one of the metadata service's.
_NAME = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
_MAKERS = {"rsa": public_keys.create_rsa, "ed25519": public_keys.create_ed25519}


def create_key_pair(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The answer has the only copy of the private key."""
    if wanted.get("KeyFormat", "pem") != "pem":
        raise ServiceError("UnsupportedOperation", "The local region writes private keys as pem, not as ppk")
    name = _new_name(wanted)
    made = _MAKERS[wanted.get("KeyType") or "rsa"]()
    return {**_keep(region, name, made.public, wanted), "KeyMaterial": made.private}


def import_key_pair(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    name = _new_name(wanted)
    material = wanted["PublicKeyMaterial"]
    try:
        public = public_keys.read_public_key(material.encode() if isinstance(material, str) else material)
    except ValueError as error:
        raise ServiceError("InvalidKey.Format", f"Key is not in valid OpenSSH public key format: {error}") from error
    return _keep(region, name, public, wanted)


def _new_name(wanted: Mapping[str, Any]) -> str:
    name = str(wanted["KeyName"])
    if _NAME.fullmatch(name) is None:
        raise ServiceError(
            "InvalidParameterValue",
            f"Invalid value '{name}' for keyName. It has 1 to 255 printable ASCII characters, with no blank at an end.",
        )
    return name


def _keep(region: Region, name: str, public: PublicKey, wanted: Mapping[str, Any]) -> dict[str, Any]:
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "key-pair")
    made = new_id("key")
    row = (made, name, public.kind, public.fingerprint, f"{public.openssh} {name}", now())
    with region.state.transaction() as database:
        try:
            database.execute("INSERT INTO key_pairs VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise ServiceError("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.") from error
        add_tags(database, made, tags)
    return {
        "KeyPairId": made,
        "KeyName": name,
        "KeyFingerprint": public.fingerprint,
        **({"Tags": described_tags(tags)} if tags else {}),
    }


def describe_key_pairs(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        rows = database.execute("SELECT * FROM key_pairs ORDER BY name").fetchall()
        tags = tags_of(database, "key")
    found = _selected(rows, wanted.get("KeyNames") or (), wanted.get("KeyPairIds") or ())
    values = {
        "fingerprint": lambda row: [row["fingerprint"]],
        "key-name": lambda row: [row["name"]],
        "key-pair-id": lambda row: [row["id"]],
        "tag-key": lambda row: tags.get(row["id"], {}),
    }
    found = matching(found, wanted.get("Filters") or (), values, lambda row: tags.get(row["id"], {}))
    with_key = bool(wanted.get("IncludePublicKey"))
    return {"KeyPairs": [_described(row, tags.get(row["id"], {}), with_key) for row in found]}


def _selected(rows: Sequence[Row], names: Sequence[str], ids: Sequence[str]) -> Sequence[Row]:
    for column, asked in (("name", names), ("id", ids)):
        known = {row[column] for row in rows}
        if missing := [each for each in asked if each not in known]:
            raise ServiceError("InvalidKeyPair.NotFound", f"The key pair '{missing[0]}' does not exist")
    if not names and not ids:
        return rows
    return [row for row in rows if row["name"] in names or row["id"] in ids]


def _described(row: Row, tags: Mapping[str, str], with_key: bool) -> dict[str, Any]:
    return {
        "KeyPairId": row["id"],
        "KeyName": row["name"],
        "KeyType": row["type"],
        "KeyFingerprint": row["fingerprint"],
        "CreateTime": row["created"],
        "Tags": described_tags(tags),
        **({"PublicKey": row["public_key"]} if with_key else {}),
    }


def delete_key_pair(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Deleting what is not there is no error. Instances keep the key that they were started with."""
    name, identifier = wanted.get("KeyName"), wanted.get("KeyPairId")
    if not name and not identifier:
        raise ServiceError("MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
    with region.state.transaction() as database:
        row = database.execute(
            "SELECT id FROM key_pairs WHERE coalesce(name = ?, 1) AND coalesce(id = ?, 1)", (name, identifier)
        ).fetchone()
        if row is None:
            return {"Return": True}
        database.execute("DELETE FROM key_pairs WHERE id = ?", (row["id"],))
        database.execute("DELETE FROM tags WHERE resource = ?", (row["id"],))
    return {"Return": True, "KeyPairId": row["id"]}
