"""RunInstances: what is wanted is checked and remembered, whole or not at all; then the machines take it up."""

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.canonical import digest_of
from builder.formats.manifest_reader import open_manifest, read_manifest
from builder.region.ec2.groups.record import default_group, find_group_id
from builder.region.ec2.instances import disks, request, volumes
from builder.region.ec2.instances.addresses import ENTROPY, Addresses, addresses_of
from builder.region.ec2.instances.record import described_reservations, find_instances
from builder.region.ec2.region import DiskOf, Region, StoredImage, new_id, now
from builder.region.ec2.tags import add_tags, check_tags, tags_of_specifications
from builder.region.errors import ServiceError


def run_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    request.refuse_unkept(wanted)
    request.check_token(wanted.get("ClientToken"))
    asked = digest_of({name: value for name, value in wanted.items() if name != "ClientToken"})
    if again := _started_before(region, wanted.get("ClientToken"), asked):
        return again
    record = _record(region, wanted)
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "instance")
    check_tags(tags)
    key_pair = request.find_key_pair(region, wanted.get("KeyName"))
    if key_pair is not None:
        record["PublicKey"] = key_pair["public_key"]
    user_data = request.decode_user_data(wanted.get("UserData"))
    with region.state.transaction() as database:
        groups = find_groups(database, wanted.get("SecurityGroups") or (), wanted.get("SecurityGroupIds") or ())
        count = request.counts(wanted, region.machines.room(record["VirtualizationType"]))
        reservation = _insert_reservation(database, wanted.get("ClientToken"), asked)
        ids = []
        for position in range(count):
            row = {
                "reservation": reservation,
                "position": position,
                "image": str(wanted["ImageId"]),
                "key_pair": key_pair["name"] if key_pair is not None else None,
                "record": json.dumps({**record, "Volumes": volumes.made(record["Volumes"])}),
                "user_data": user_data,
            }
            ids.append(_insert(database, row, hvm=record["VirtualizationType"] == "hvm"))
        database.executemany(
            "INSERT INTO instance_groups VALUES (?, ?)", [(each, group) for each in ids for group in groups]
        )
        for each in ids:
            add_tags(database, each, tags)
    answer = described_reservations(region, find_instances(region.state, ids))[0]
    region.machines.launch(ids, disk_of(region))
    return answer


def _started_before(region: Region, token: str | None, asked: str) -> dict[str, Any] | None:
    """What a token was answered with: the same call again starts nothing."""
    found = region.state.row("SELECT * FROM reservations WHERE client_token = ?", (token,)) if token else None
    if found is None:
        return None
    if found["request"] != asked:
        raise ServiceError(
            "IdempotentParameterMismatch",
            f"The client token {token} was used before, with other parameters of RunInstances",
        )
    rows = region.state.rows("SELECT id FROM instances WHERE reservation = ? ORDER BY position", (found["id"],))
    return described_reservations(region, find_instances(region.state, [row["id"] for row in rows]))[0]


def _record(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """All that stays as it is decided now."""
    overrides = wanted.get("BlockDeviceMappings") or ()
    disks.check_overrides(overrides)
    image = request.find_image(region, str(wanted["ImageId"]))
    chosen = request.find_type(wanted, image)
    kernel = request.find_kernel(wanted, image)
    firmware = request.find_firmware(chosen, image)
    attached = volumes.wanted(image, overrides)
    behavior = request.check_shutdown(wanted.get("InstanceInitiatedShutdownBehavior"), volumes=bool(attached))
    options = request.metadata_options(wanted.get("MetadataOptions") or {}, request.default_metadata_options(image))
    mapped = disks.mapped(
        chosen,
        root=str(image.record["RootDeviceName"]),
        manifest=_manifest_mapping(region, image),
        image=image.record["BlockDeviceMappings"],
        wanted=overrides,
        volumes=bool(attached),
    )
    optional = {
        "KernelId": kernel,
        "ClientToken": wanted.get("ClientToken"),
        "Firmware": firmware,
        "BootMode": image.record.get("BootMode"),
        "CurrentInstanceBootMode": {"bios": "legacy-bios", "uefi": "uefi"}.get(firmware),
        "EnaSupport": image.record.get("EnaSupport"),
    }
    return {
        "InstanceType": chosen.name,
        "MemoryMib": chosen.memory_mib,
        "Vcpus": chosen.vcpus,
        "Architecture": image.record["Architecture"],
        "VirtualizationType": image.record["VirtualizationType"],
        "ImageLocation": image.record["ImageLocation"],
        "RootDeviceName": image.record["RootDeviceName"],
        "AvailabilityZone": request.find_zone(wanted.get("Placement") or {}),
        "MetadataOptions": options,
        "DisableApiTermination": bool(wanted.get("DisableApiTermination")),
        "Nitro": chosen.nitro,
        "Volumes": attached,
        "ShutdownBehavior": behavior,
        "Disks": [[each.virtual, each.device, each.size_gb, each.kind] for each in mapped],
        **{name: value for name, value in optional.items() if value},
    }


def _manifest_mapping(region: Region, image: StoredImage) -> tuple[tuple[str, str], ...]:
    row = region.state.row("SELECT manifest FROM images WHERE id = ?", (image.id,))
    if row is None or not row["manifest"]:
        return ()
    return read_manifest(open_manifest(row["manifest"], region.private_key)).block_device_mapping


def find_groups(database: sqlite3.Connection, names: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The ids of the security groups that are named; of the default one when none is."""
    found = dict.fromkeys(
        (
            *(find_group_id(database, name=each) for each in names),
            *(find_group_id(database, identifier=each) for each in ids),
        )
    )
    return list(found) or [default_group(database)]


def _insert_reservation(database: sqlite3.Connection, token: str | None, asked: str) -> str:
    made = new_id("r")
    database.execute("INSERT INTO reservations VALUES (?, ?, ?, ?)", (made, now(), token or None, asked))
    return made


def _insert(database: sqlite3.Connection, row: Mapping[str, Any], *, hvm: bool) -> str:
    instance = new_id("i")
    free = _free_addresses(database, hvm=hvm)
    full = {
        "id": instance,
        "state": "pending",
        "launched": now(),
        "private_address": free.private,
        "public_address": free.public,
        "mac": free.mac,
        "ports": "{}",
        "transition": "",
        **row,
    }
    names = ", ".join(full)
    database.execute(f"INSERT INTO instances ({names}) VALUES ({', '.join('?' * len(full))})", tuple(full.values()))
    return instance


def disk_of(region: Region) -> DiskOf:
    """Where a snapshot of the region lies, for who may start from it."""

    def disk(snapshot: str) -> Path:
        from builder.region.ebs.disk import snapshot_disk

        return snapshot_disk(region, snapshot)

    return disk


def _free_addresses(database: sqlite3.Connection, *, hvm: bool) -> Addresses:
    """Addresses that no other instance has."""
    query = (
        "SELECT 1 FROM instances WHERE state <> 'terminated' AND (private_address = ? OR public_address = ? OR mac = ?)"
    )
    while True:
        found = addresses_of(secrets.randbelow(ENTROPY), hvm=hvm)
        if database.execute(query, (found.private, found.public, found.mac)).fetchone() is None:
            return found
