"""ec2-add-group, ec2-describe-group and ec2-delete-group."""

from typing import Any

from builder.classic import api, lines
from builder.classic.command import Command, Options, enter
from builder.classic.options import Option

GROUP = Option(names=("GROUP",), value="GROUP", help="The group's name, or its id (sg-...).", required=True)


def one(name: str) -> dict[str, Any]:
    """A request's member that names a group."""
    return {"GroupId": name} if name.startswith("sg-") else {"GroupName": name}


def add(options: Options) -> None:
    """Make a group, which lets nothing in yet."""
    request = api.given(GroupName=options.group, Description=options.description, VpcId=options.vpc)
    made = api.ask(options, "create_security_group", request, f"the group {options.group}")
    if made is not None:
        api.show([("GROUP", made["GroupId"], options.group, options.description)], options)


def describe(options: Options) -> None:
    """Print a table of groups and of what they let in."""
    request = api.named(options.group, ids="GroupIds", names="GroupNames") | api.given(Filters=api.filters(options))
    found = api.listed(options, "describe_security_groups", "SecurityGroups", request, about="the groups")
    api.show([line for each in found for line in lines.group(each)], options)


def delete(options: Options) -> None:
    """Delete a group that no instance is in."""
    if api.ask(options, "delete_security_group", one(options.group), f"the group {options.group}") is not None:
        api.show([("RETURN", "true")], options)


ADD = Command(
    name="ec2-add-group",
    summary="Make a security group. Nothing reaches its instances until ec2-authorize lets it in.",
    options=(
        GROUP,
        Option(names=("-d", "--description"), value="TEXT", help="What it is for.", required=True),
        Option(names=("-c", "--vpc"), value="VPC", help="The VPC that it is for; none in the local region."),
        *api.API,
    ),
    run=add,
    examples='ec2-add-group websrv -d "web servers"',
    manual="""\
output:
  GROUP  id, name, description""",
    interrupted="the group may be there: see ec2-describe-group",
)
DESCRIBE = Command(
    name="ec2-describe-group",
    summary="List security groups, and what they let in.",
    options=(
        Option(names=("GROUP",), value="GROUP", help="Names or ids (sg-...).", repeated=True, default=()),
        api.FILTER,
        *api.API,
    ),
    run=describe,
    examples="""\
ec2-describe-group default
ec2-describe-group -F ip-permission.to-port=22""",
    manual="""\
output:
  GROUP       id, owner, name, description, VPC
  PERMISSION  owner, group, ALLOWS, protocol, first port, last port (of ICMP type and code), then
              FROM, CIDR, range, ingress; or FROM, USER, account, NAME group, ID group, ingress
  TAG         security-group, id, key, value""",
    interrupted="nothing was changed",
)
DELETE = Command(
    name="ec2-delete-group",
    summary="Delete a security group that no instance is in, and that no other group names.",
    options=(GROUP, *api.API),
    run=delete,
    examples="ec2-delete-group websrv",
    manual="""\
output:
  RETURN  true""",
    interrupted="run it again",
)


def add_main() -> None:
    enter(ADD)


def describe_main() -> None:
    enter(DESCRIBE)


def delete_main() -> None:
    enter(DELETE)
