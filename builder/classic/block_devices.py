"""Block device mappings as ec2-register takes them: `DEVICE=WHAT`, one for each -b."""

from typing import Any

from builder.errors import RecipeError

_HINT = "write /dev/sdb=ephemeral0, /dev/sdb=none, or /dev/sdh=[SNAPSHOT]:[GIB]:[true|false]:[TYPE[:IOPS]]:[encrypted]"
_KEPT = {"": None, "true": True, "false": False}


def mapping(text: str) -> dict[str, Any]:
    """The mapping as RegisterImage wants it."""
    device, equals, what = text.partition("=")
    if not (device and equals and what):
        raise RecipeError(f'"{text}" is no mapping', hint=_HINT)
    if what == "none":
        return {"DeviceName": device, "NoDevice": ""}
    if ":" not in what and not what.startswith("snap-"):
        return {"DeviceName": device, "VirtualName": what}
    return {"DeviceName": device, "Ebs": _volume(text, what.split(":"))}


def _volume(text: str, fields: list[str]) -> dict[str, Any]:
    """An EBS volume: its fields in their order, those at the end left out."""
    encrypted = "encrypted" in fields[1:]
    snapshot, size, delete, kind, iops, *more = [*(each for each in fields if each != "encrypted"), *[""] * 5]
    if any(more) or delete not in _KEPT or not all(each == "" or each.isdecimal() for each in (size, iops)):
        raise RecipeError(f'"{text}" is no mapping', hint=_HINT)
    found = {
        "SnapshotId": snapshot or None,
        "VolumeSize": int(size) if size else None,
        "DeleteOnTermination": _KEPT[delete],
        "VolumeType": kind or None,
        "Iops": int(iops) if iops else None,
        "Encrypted": encrypted or None,
    }
    return {name: value for name, value in found.items() if value is not None}
