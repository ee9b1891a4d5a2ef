"""What may reach each instance, read from the records of its security groups."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder.region.state import Row, State

if TYPE_CHECKING:
    from builder.machine.network import Permission


def permissions(state: State) -> "Mapping[str, tuple[Permission, ...]]":
    """By instance. A rule that names a group lets in the private addresses of the group's members."""
    with state.transaction() as database:
        rules = database.execute("SELECT * FROM security_group_rules ORDER BY id").fetchall()
        memberships = database.execute(
            "SELECT instance, security_group, private_address FROM instance_groups JOIN instances ON id = instance "
            "WHERE state <> 'terminated' ORDER BY instance, security_group"
        ).fetchall()
    members: dict[str, list[str]] = {}
    for row in memberships:
        members.setdefault(row["security_group"], []).append(row["private_address"])
    found: dict[str, tuple[Permission, ...]] = {}
    for row in memberships:
        own = (_permission(rule, members) for rule in rules if rule["security_group"] == row["security_group"])
        found[row["instance"]] = (*found.get(row["instance"], ()), *own)
    return found


def _permission(rule: Row, members: Mapping[str, list[str]]) -> "Permission":
    from builder.machine.network import Permission

    return Permission(
        protocol="all" if rule["protocol"] == "-1" else rule["protocol"],
        first=rule["from_port"],
        last=rule["to_port"],
        cidrs=(rule["cidr"],) if rule["cidr"] else (),
        addresses=tuple(members.get(rule["source_group"], ())) if rule["source_group"] else (),
    )
