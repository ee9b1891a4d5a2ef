"""Who may launch an AMI, and who may make volumes of its snapshots."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from builder.cloud.asking import asked
from builder.cloud.errors import Client, refused_with
from builder.errors import RegionError

Grant = tuple[str, str]
"""("account", twelve digits), ("organization", ARN), ("unit", ARN) or ("all", "")."""

_MEMBERS = {"account": "UserId", "organization": "OrganizationArn", "unit": "OrganizationalUnitArn"}
_AT_ONCE = 100
"""Changes in one call; EC2 takes 500 for a snapshot (API reference, ModifySnapshotAttribute)."""


def image_grants(client: Client, image_id: str) -> frozenset[Grant]:
    request = {"ImageId": image_id, "Attribute": "launchPermission"}
    answer = asked(client, "describe_image_attribute", request, f"the launch permissions of {image_id}")
    return _grants(answer.get("LaunchPermissions", ()))


def snapshot_grants(client: Client, snapshot_id: str) -> frozenset[Grant]:
    request = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"}
    answer = asked(client, "describe_snapshot_attribute", request, f"the permissions of {snapshot_id}")
    return _grants(answer.get("CreateVolumePermissions", ()))


def change_image(client: Client, image_id: str, *, add: Iterable[Grant] = (), remove: Iterable[Grant] = ()) -> None:
    for change in _changes(add, remove):
        request = {"ImageId": image_id, "LaunchPermission": change}
        asked(client, "modify_image_attribute", request, f"the launch permissions of {image_id}")


def change_snapshot(
    client: Client, snapshot_id: str, *, add: Iterable[Grant] = (), remove: Iterable[Grant] = ()
) -> None:
    """Accounts and all only: a snapshot is not shared with organizations."""
    for change in _changes(add, remove):
        request = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission", "CreateVolumePermission": change}
        asked(client, "modify_snapshot_attribute", request, f"the permissions of {snapshot_id}")


def public_blocked(client: Client) -> tuple[bool, bool]:
    """Whether the account keeps AMIs, and snapshots, of this region from being made public; False where it may not be
    asked."""
    return (
        _state(client, "get_image_block_public_access_state", "ImageBlockPublicAccessState") == "block-new-sharing",
        _state(client, "get_snapshot_block_public_access_state", "State") not in ("", "unblocked"),
    )


def _state(client: Client, operation: str, member: str) -> str:
    try:
        return str(asked(client, operation, {}, "the account's block of public access").get(member, ""))
    except RegionError as error:
        if refused_with(error) in ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException"):
            return ""
        raise


def _changes(add: Iterable[Grant], remove: Iterable[Grant]) -> Iterator[dict[str, Any]]:
    """Never both in one call: EC2 refuses that for a snapshot."""
    for word, grants in (("Add", sorted(add)), ("Remove", sorted(remove))):
        for start in range(0, len(grants), _AT_ONCE):
            yield {word: [_member(each) for each in grants[start : start + _AT_ONCE]]}


def _member(grant: Grant) -> dict[str, str]:
    kind, value = grant
    return {"Group": "all"} if kind == "all" else {_MEMBERS[kind]: value}


def _grants(listed: Iterable[Mapping[str, str]]) -> frozenset[Grant]:
    found: set[Grant] = set()
    for each in listed:
        found |= {(kind, each[member]) for kind, member in _MEMBERS.items() if each.get(member)}
        if each.get("Group") == "all":
            found.add(("all", ""))
    return frozenset(found)
