"""Security groups and their rules as they are remembered, and as EC2 shows them."""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.region.ec2.region import NAME, new_id, now
from builder.region.ec2.tags import described_tags, tags_of
from builder.region.errors import ServiceError

DEFAULT = "default"
ALL = "-1"
ID = re.compile(r"sg-([0-9a-f]{8}|[0-9a-f]{17})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a rule lets in. Two rules of a group never grant the same."""

    protocol: str
    """tcp, udp, icmp, or ALL."""
    first: int
    """The first port; of icmp the type, -1 for all."""
    last: int
    """The last port; of icmp the code, -1 for all."""
    cidr: str | None = None
    source: str | None = None
    """The id of the group whose members are let in, where it is not addresses."""


# What members of the default group may do from the first: reach each other.
FULL = (("tcp", 0, 65535), ("udp", 0, 65535), ("icmp", -1, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    id: str
    group: str
    """The id of the group that it belongs to."""
    grant: Grant
    description: str | None
    tags: Mapping[str, str]

    def described(self, account: str) -> dict[str, Any]:
        """As DescribeSecurityGroupRules has it."""
        source = self.grant.source
        return {
            "SecurityGroupRuleId": self.id,
            "GroupId": self.group,
            "GroupOwnerId": account,
            "IsEgress": False,
            "IpProtocol": self.grant.protocol,
            "FromPort": self.grant.first,
            "ToPort": self.grant.last,
            **({"CidrIpv4": self.grant.cidr} if self.grant.cidr else {}),
            **({"ReferencedGroupInfo": {"GroupId": source, "UserId": account}} if source else {}),
            **({"Description": self.description} if self.description else {}),
            "Tags": described_tags(self.tags),
            "SecurityGroupRuleArn": f"arn:aws:ec2:{NAME}:{account}:security-group-rule/{self.id}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    id: str
    name: str
    description: str
    rules: tuple[Rule, ...]
    tags: Mapping[str, str]

    def described(self, account: str, names: Mapping[str, str]) -> dict[str, Any]:
        """As DescribeSecurityGroups has it. `names`: of all groups, by id."""
        return {
            "GroupId": self.id,
            "GroupName": self.name,
            "Description": self.description,
            "OwnerId": account,
            "IpPermissions": described_permissions(self.rules, account, names),
            "IpPermissionsEgress": [],
            "Tags": described_tags(self.tags),
            "SecurityGroupArn": arn(self.id, account),
        }


def arn(group: str, account: str) -> str:
    return f"arn:aws:ec2:{NAME}:{account}:security-group/{group}"


def described_permissions(rules: Iterable[Rule], account: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """One permission for each protocol and ports, with all whom they are open to."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in rules:
        grant = rule.grant
        ports = {"FromPort": grant.first, "ToPort": grant.last} if grant.protocol != ALL else {}
        permission = found.setdefault(
            (grant.protocol, grant.first, grant.last),
            {
                "IpProtocol": grant.protocol,
                **ports,
                "IpRanges": [],
                "UserIdGroupPairs": [],
                "Ipv6Ranges": [],
                "PrefixListIds": [],
            },
        )
        said = {"Description": rule.description} if rule.description else {}
        if grant.source:
            pair = {"UserId": account, "GroupId": grant.source, "GroupName": names[grant.source]}
            permission["UserIdGroupPairs"].append({**pair, **said})
        else:
            permission["IpRanges"].append({"CidrIp": grant.cidr, **said})
    return list(found.values())


def read_groups(database: sqlite3.Connection) -> list[Group]:
    """All groups, the default one among them, in the order in which they were made."""
    default_group(database)
    rules: dict[str, list[Rule]] = {}
    for rule in read_rules(database):
        rules.setdefault(rule.group, []).append(rule)
    tags = tags_of(database, "sg")
    return [
        Group(
            id=row["id"],
            name=row["name"],
            description=row["description"],
            rules=tuple(rules.get(row["id"], ())),
            tags=tags.get(row["id"], {}),
        )
        for row in database.execute("SELECT * FROM security_groups ORDER BY created, name").fetchall()
    ]


def read_rules(database: sqlite3.Connection) -> list[Rule]:
    """All rules, by protocol and port."""
    query = "SELECT * FROM security_group_rules ORDER BY protocol, from_port, to_port, cidr, source_group"
    tags = tags_of(database, "sgr")
    return [
        Rule(
            id=row["id"],
            group=row["security_group"],
            grant=Grant(
                protocol=row["protocol"],
                first=row["from_port"],
                last=row["to_port"],
                cidr=row["cidr"],
                source=row["source_group"],
            ),
            description=row["description"],
            tags=tags.get(row["id"], {}),
        )
        for row in database.execute(query).fetchall()
    ]


def default_group(database: sqlite3.Connection) -> str:
    """The id of the group of instances for which none is named. It is always there, and its members reach each other,
    unless those rules were revoked."""
    row = database.execute("SELECT id FROM security_groups WHERE name = ?", (DEFAULT,)).fetchone()
    if row is not None:
        return str(row["id"])
    made = insert_group(database, DEFAULT, "default group")
    for protocol, first, last in FULL:
        insert_rule(database, made, Grant(protocol=protocol, first=first, last=last, source=made), None)
    return made


def insert_group(database: sqlite3.Connection, name: str, description: str) -> str:
    made = new_id("sg")
    database.execute("INSERT INTO security_groups VALUES (?, ?, ?, ?)", (made, name, description, now()))
    return made


def insert_rule(database: sqlite3.Connection, group: str, grant: Grant, description: str | None) -> str:
    made = new_id("sgr")
    row = (made, group, grant.protocol, grant.first, grant.last, grant.cidr, grant.source, description)
    database.execute("INSERT INTO security_group_rules VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    return made


def find_group_id(database: sqlite3.Connection, *, name: str | None = None, identifier: str | None = None) -> str:
    """The id of the group of that name or id; EC2's error when there is none. The default group is always there."""
    if name == DEFAULT:
        return default_group(database)
    if identifier and ID.fullmatch(identifier) is None:
        raise ServiceError("InvalidGroupId.Malformed", f'Invalid id: "{identifier}" (expecting "sg-...")')
    column, value = ("id", identifier) if identifier else ("name", name)
    row = database.execute(f"SELECT id FROM security_groups WHERE {column} = ?", (value,)).fetchone()
    if row is None:
        raise not_found(str(value))
    return str(row["id"])


def not_found(group: str) -> ServiceError:
    return ServiceError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
