"""CreateSecurityGroup, DeleteSecurityGroup, and the calls that change inbound rules. Each is done whole or not at all;
then the machines look again at what may reach whom."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from builder.region.ec2.groups import request
from builder.region.ec2.groups.record import (
    ALL,
    DEFAULT,
    Grant,
    Rule,
    arn,
    default_group,
    find_group_id,
    insert_group,
    insert_rule,
    not_found,
    read_rules,
)
from builder.region.ec2.region import Region
from builder.region.ec2.tags import add_tags, described_tags, tags_of_specifications
from builder.region.errors import ServiceError

MOST_GROUPS = 500
MOST_RULES = 100
"""EC2-Classic's limits: groups of an account in a region, rules of a group."""
_TEXT = re.compile(r"[ -~]{1,255}")
RULE_ID = re.compile(r"sgr-([0-9a-f]{8}|[0-9a-f]{17})")


def create_security_group(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    name, description = str(wanted["GroupName"]), str(wanted["Description"])
    if wanted.get("VpcId"):
        raise ServiceError("InvalidVpcID.NotFound", f"The vpc ID '{wanted['VpcId']}' does not exist")
    for value, parameter in ((name, "groupName"), (description, "groupDescription")):
        if _TEXT.fullmatch(value) is None:
            raise _invalid(f"Value ({value}) for parameter {parameter} is invalid. It has 1 to 255 ASCII characters.")
    if name.lower() == DEFAULT:
        raise ServiceError("InvalidGroup.Reserved", f"The security group name '{name}' is reserved")
    if name.startswith("sg-"):
        raise _invalid(f"Value ({name}) for parameter groupName is invalid. Group names may not be in the format sg-*.")
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "security-group")
    with region.state.transaction() as database:
        default_group(database)
        names = {row["name"] for row in database.execute("SELECT name FROM security_groups").fetchall()}
        if name in names:
            raise ServiceError("InvalidGroup.Duplicate", f"The security group '{name}' already exists")
        if len(names) >= MOST_GROUPS:
            raise ServiceError(
                "SecurityGroupLimitExceeded", f"The maximum number of security groups ({MOST_GROUPS}) has been reached."
            )
        made = insert_group(database, name, description)
        add_tags(database, made, tags)
    answer = {"GroupId": made, "SecurityGroupArn": arn(made, region.account)}
    return answer | ({"Tags": described_tags(tags)} if tags else {})


def delete_security_group(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        group = _find(database, wanted)
        name = _name(database, group)
        if name == DEFAULT:
            raise ServiceError("InvalidGroup.Reserved", "The security group 'default' is reserved")
        if database.execute("SELECT 1 FROM instance_groups WHERE security_group = ?", (group,)).fetchone():
            raise ServiceError("InvalidGroup.InUse", f"There are active instances using security group '{name}'")
        query = "SELECT security_group FROM security_group_rules WHERE source_group = ?1 AND security_group <> ?1"
        if using := database.execute(query, (group,)).fetchone():
            raise ServiceError(
                "InvalidGroup.InUse",
                f"The security group '{name}' is in use by a rule of '{_name(database, using['security_group'])}'",
            )
        _forget(database, [rule.id for rule in read_rules(database) if rule.group == group])
        database.execute("DELETE FROM tags WHERE resource = ?", (group,))
        database.execute("DELETE FROM security_groups WHERE id = ?", (group,))
    return {"Return": True, "GroupId": group}


def authorize_security_group_ingress(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A rule that is there already is an error, and then none of the call is done."""
    tags = tags_of_specifications(wanted.get("TagSpecifications") or (), "security-group-rule")
    with region.state.transaction() as database:
        group = _find(database, wanted)
        present = {rule.grant for rule in read_rules(database) if rule.group == group}
        asked = request.grants(wanted, lambda pair: _source(region, database, pair))
        for grant in asked:
            if grant in present:
                raise ServiceError(
                    "InvalidPermission.Duplicate", f'the specified rule "{_spoken(grant)}" already exists'
                )
        if len(present) + len(asked) > MOST_RULES:
            raise ServiceError(
                "RulesPerSecurityGroupLimitExceeded",
                f"The maximum number of rules per security group ({MOST_RULES}) has been reached.",
            )
        made = [insert_rule(database, group, *each) for each in asked.items()]
        for rule in made:
            add_tags(database, rule, tags)
        rules = [rule for rule in read_rules(database) if rule.id in made]
    region.machines.regroup()
    return {"Return": True, "SecurityGroupRules": [rule.described(region.account) for rule in rules]}


def revoke_security_group_ingress(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """By what rules grant, or by their ids. One that is not there is an error, and then none of the call is done."""
    with region.state.transaction() as database:
        group = _find(database, wanted)
        present = [rule for rule in read_rules(database) if rule.group == group]
        ids: Sequence[str] = wanted.get("SecurityGroupRuleIds") or ()
        if ids and any(wanted.get(name) for name in ("IpPermissions", *request.FLAT)):
            raise ServiceError(
                "InvalidParameterCombination", "Name rules by their ids or by what they permit, not by both"
            )
        if ids:
            gone = _of_ids(present, ids)
        else:
            asked = request.grants(wanted, lambda pair: _source(region, database, pair))
            gone = [rule for rule in present if rule.grant in asked]
            if len(gone) < len(asked):
                raise ServiceError(
                    "InvalidPermission.NotFound", "The specified rule does not exist in this security group."
                )
        _forget(database, [rule.id for rule in gone])
    region.machines.regroup()
    return {"Return": True, "RevokedSecurityGroupRules": [_revoked(rule) for rule in gone]}


def update_security_group_rule_descriptions_ingress(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        group = _find(database, wanted)
        present = [rule for rule in read_rules(database) if rule.group == group]
        asked = request.grants(wanted, lambda pair: _source(region, database, pair))
        ids = {rule.grant: rule.id for rule in present}
        if any(grant not in ids for grant in asked):
            raise ServiceError(
                "InvalidPermission.NotFound", "The specified rule does not exist in this security group."
            )
        database.executemany(
            "UPDATE security_group_rules SET description = ? WHERE id = ?",
            [(description, ids[grant]) for grant, description in asked.items()],
        )
    return {"Return": True}


def refuse_egress(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What EC2-Classic answered: its groups said nothing of what leaves an instance."""
    with region.state.transaction() as database:
        _find(database, wanted)
    raise _invalid("Only Amazon VPC security groups may be used with this operation.")


def _find(database: sqlite3.Connection, wanted: Mapping[str, Any]) -> str:
    """The group that a call is about, by name or id."""
    name, identifier = wanted.get("GroupName"), wanted.get("GroupId")
    if not name and not identifier:
        raise ServiceError("MissingParameter", "The request must contain the parameter groupName or groupId")
    if name and identifier:
        raise ServiceError(
            "InvalidParameterCombination", "The parameter 'groupName' may not be used in combination with 'groupId'"
        )
    return find_group_id(database, name=name, identifier=identifier)


def _source(region: Region, database: sqlite3.Connection, pair: Mapping[str, Any]) -> str:
    """There is one account: nobody else has groups."""
    if pair.get("UserId") and pair["UserId"] != region.account:
        raise not_found(f"{pair['UserId']}/{pair.get('GroupId') or pair.get('GroupName')}")
    return find_group_id(
        database, name=None if pair.get("GroupId") else pair.get("GroupName"), identifier=pair.get("GroupId")
    )


def _of_ids(present: Sequence[Rule], ids: Sequence[str]) -> list[Rule]:
    by_id = {rule.id: rule for rule in present}
    for each in ids:
        if RULE_ID.fullmatch(each) is None:
            raise ServiceError("InvalidSecurityGroupRuleId.Malformed", f'Invalid id: "{each}" (expecting "sgr-...")')
        if each not in by_id:
            raise ServiceError(
                "InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{each}' does not exist"
            )
    return [by_id[each] for each in dict.fromkeys(ids)]


def _name(database: sqlite3.Connection, group: str) -> str:
    return str(database.execute("SELECT name FROM security_groups WHERE id = ?", (group,)).fetchone()["name"])


def _forget(database: sqlite3.Connection, rules: Sequence[str]) -> None:
    for each in rules:
        database.execute("DELETE FROM tags WHERE resource = ?", (each,))
        database.execute("DELETE FROM security_group_rules WHERE id = ?", (each,))


def _spoken(grant: Grant) -> str:
    """EC2's words for a rule."""
    protocol = "ALL" if grant.protocol == ALL else grant.protocol.upper()
    kinds = ("type", "code") if grant.protocol == "icmp" else ("from port", "to port")
    ports = "" if grant.protocol == ALL else f", {kinds[0]}: {grant.first}, {kinds[1]}: {grant.last}"
    return f"peer: {grant.cidr or grant.source}, {protocol}{ports}, ALLOW"


def _revoked(rule: Rule) -> dict[str, Any]:
    grant = rule.grant
    optional = {"CidrIpv4": grant.cidr, "ReferencedGroupId": grant.source, "Description": rule.description}
    return {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group,
        "IsEgress": False,
        "IpProtocol": grant.protocol,
        "FromPort": grant.first,
        "ToPort": grant.last,
        **{name: value for name, value in optional.items() if value},
    }


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)
