"""DescribeSecurityGroups and DescribeSecurityGroupRules."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from builder.region.ec2.filters import matching
from builder.region.ec2.groups.change import RULE_ID
from builder.region.ec2.groups.record import Group, Rule, find_group_id, not_found, read_groups, read_rules
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError

Values = Callable[[Group], Iterable[str]]


def _nothing(group: Group) -> Iterable[str]:
    """No group here has what this filter is about, so that it lets none through."""
    del group
    return ()


def filters_of(account: str, names: Mapping[str, str]) -> Mapping[str, Values]:
    """All that the API reference lists for DescribeSecurityGroups."""

    def of_rules(value: Callable[[Rule], object]) -> Values:
        return lambda group: [str(each) for each in map(value, group.rules) if each is not None]

    own: Mapping[str, Values] = {
        "description": lambda group: [group.description],
        "group-id": lambda group: [group.id],
        "group-name": lambda group: [group.name],
        "owner-id": lambda group: [account],
        "tag-key": lambda group: group.tags,
        "ip-permission.cidr": of_rules(lambda rule: rule.grant.cidr),
        "ip-permission.from-port": of_rules(lambda rule: rule.grant.first),
        "ip-permission.to-port": of_rules(lambda rule: rule.grant.last),
        "ip-permission.protocol": of_rules(lambda rule: rule.grant.protocol),
        "ip-permission.group-id": of_rules(lambda rule: rule.grant.source),
        "ip-permission.group-name": of_rules(lambda rule: names.get(rule.grant.source or "")),
        "ip-permission.user-id": of_rules(lambda rule: account if rule.grant.source else None),
    }
    egress = [f"egress.{name}" for name in own if name.startswith("ip-permission.")]
    absent = ("ip-permission.ipv6-cidr", "ip-permission.prefix-list-id")
    none = ("vpc-id", *absent, *(f"egress.{name}" for name in absent), *egress)
    return {**own, **dict.fromkeys(none, _nothing)}


def describe_security_groups(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        groups = read_groups(database)
        for each in wanted.get("GroupIds") or ():
            find_group_id(database, identifier=str(each))
    names = {each.id: each.name for each in groups}
    found = _selected(groups, wanted.get("GroupNames") or (), wanted.get("GroupIds") or ())
    found = matching(found, wanted.get("Filters") or (), filters_of(region.account, names), lambda group: group.tags)
    shown, token = page(found, wanted, lambda group: group.id, least=5, most=1000)
    return {"SecurityGroups": [each.described(region.account, names) for each in shown], **token}


def _selected(groups: Sequence[Group], names: Sequence[str], ids: Sequence[str]) -> Sequence[Group]:
    if missing := sorted(set(names) - {each.name for each in groups}):
        raise not_found(missing[0])
    if not names and not ids:
        return groups
    return [each for each in groups if each.name in names or each.id in ids]


def describe_security_group_rules(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    with region.state.transaction() as database:
        read_groups(database)  # the default one is there
        rules = read_rules(database)
    ids: Sequence[str] = wanted.get("SecurityGroupRuleIds") or ()
    for each in ids:
        if RULE_ID.fullmatch(each) is None:
            raise ServiceError("InvalidSecurityGroupRuleId.Malformed", f'Invalid id: "{each}" (expecting "sgr-...")')
    if missing := sorted(set(ids) - {rule.id for rule in rules}):
        raise ServiceError(
            "InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{missing[0]}' does not exist"
        )
    values: Mapping[str, Callable[[Rule], Iterable[str]]] = {
        "group-id": lambda rule: [rule.group],
        "security-group-rule-id": lambda rule: [rule.id],
        "tag-key": lambda rule: rule.tags,
    }
    chosen = [rule for rule in rules if not ids or rule.id in ids]
    found = matching(chosen, wanted.get("Filters") or (), values, lambda rule: rule.tags)
    shown, token = page(found, wanted, lambda rule: rule.id, least=5, most=1000)
    return {"SecurityGroupRules": [rule.described(region.account) for rule in shown], **token}
