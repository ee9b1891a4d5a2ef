"""ec2-authorize and ec2-revoke: what a security group lets in."""

import re
from typing import Any

from builder.classic import api, lines
from builder.classic.command import Command, Options, enter
from builder.classic.groups import GROUP, one
from builder.classic.options import Option, account
from builder.errors import RecipeError

ANYWHERE = "0.0.0.0/0"
_ALL_PORTS = (0, 65535)
_ALL_ICMP = (-1, -1)
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "all": "-1"}
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_TYPE_CODE = re.compile(r"(-1|\d{1,3}):(-1|\d{1,3})")


def protocol(text: str) -> str:
    """A protocol by name or number, as the API names it: -1 for all."""
    found = _PROTOCOLS.get(text.lower(), text.lower())
    if found not in ("tcp", "udp", "icmp", "-1") and not found.isdecimal():
        raise RecipeError(f'"{text}" is no protocol', hint="write tcp, udp, icmp, or a number; -1 for all in a VPC")
    return found


def ports(text: str) -> tuple[int, int]:
    """`80`, `80-84`, or -1 for all."""
    if text == "-1":
        return _ALL_PORTS
    found = _RANGE.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last <= _ALL_PORTS[1]:
        raise RecipeError(f'"{text}" is no range of ports', hint="write one such as 80 or 80-84, or -1 for all")
    return first, last


def type_and_code(text: str) -> tuple[int, int]:
    """`8:0`, or `-1:-1` for all."""
    found = _TYPE_CODE.fullmatch(text)
    if found is None:
        raise RecipeError(f'"{text}" is no ICMP type and code', hint="write one such as 8:-1; -1 stands for all")
    return int(found[1]), int(found[2])


def request(options: Options) -> dict[str, Any]:
    """The group, and what it is to let in or no longer."""
    return {**one(options.group), "IpPermissions": permissions(options)}


def permissions(options: Options) -> list[dict[str, Any]]:
    """One for each protocol: everything there is when groups are named and neither protocol nor ports.

    That is what EC2 made of the classic call, which had either ports and a range of addresses, or a group.
    """
    if options.source_or_dest_group and options.cidr:
        raise RecipeError("a rule is for addresses or for groups", hint="give -s or -o, and another line for the other")
    return [{"IpProtocol": name, **_ports(first, last), **_sources(options)} for name, first, last in _reaches(options)]


def _reaches(options: Options) -> list[tuple[str, int | None, int | None]]:
    """Protocols, each with its ports."""
    if options.port_range and options.icmp_type_code:
        raise RecipeError("ports, and a type of ICMP, in one rule", hint="give -p or -t")
    chosen = options.protocol or ("icmp" if options.icmp_type_code else "tcp")
    if options.icmp_type_code and chosen != "icmp":
        raise RecipeError(f"-t is for icmp, not for {chosen}", hint="give -p for ports")
    if options.port_range and chosen not in ("tcp", "udp"):
        raise RecipeError(f"-p is for tcp and udp, not for {chosen}", hint="give -t TYPE:CODE for icmp")
    if chosen == "icmp":
        return [("icmp", *(options.icmp_type_code or _ALL_ICMP))]
    if chosen not in ("tcp", "udp"):
        return [(chosen, None, None)]
    if options.port_range:
        return [(chosen, *options.port_range)]
    if not options.source_or_dest_group:
        raise RecipeError("which ports? None were named", hint="give -p, such as -p 22; -p -1 for all")
    if options.protocol:
        return [(chosen, *_ALL_PORTS)]
    return [("tcp", *_ALL_PORTS), ("udp", *_ALL_PORTS), ("icmp", *_ALL_ICMP)]


def _ports(first: int | None, last: int | None) -> dict[str, int]:
    return {} if first is None or last is None else {"FromPort": first, "ToPort": last}


def _sources(options: Options) -> dict[str, Any]:
    groups, owners = options.source_or_dest_group, options.source_or_dest_group_user
    if not groups:
        if owners:
            raise RecipeError("-u names the owner of a group, and none is named", hint="give -o GROUP too")
        return {"IpRanges": [{"CidrIp": each} for each in options.cidr or (ANYWHERE,)]}
    if owners and len(owners) != len(groups):
        raise RecipeError(
            f"{len(groups)} groups and {len(owners)} owners",
            hint="give -u once for each -o, in the same order, or never",
        )
    pairs = zip(groups, owners or [""] * len(groups), strict=True)
    return {"UserIdGroupPairs": [{**one(group), **({"UserId": owner} if owner else {})} for group, owner in pairs]}


def authorize(options: Options) -> None:
    _change(options, "authorize")


def revoke(options: Options) -> None:
    _change(options, "revoke")


def _change(options: Options, verb: str) -> None:
    """Change a group, and print what was asked for as the original does."""
    asked = request(options)
    way = "egress" if options.egress else "ingress"
    if api.ask(options, f"{verb}_security_group_{way}", asked, f"the group {options.group}") is not None:
        table = lines.changed_group(options.group, asked["IpPermissions"], egress=options.egress)
        api.show(list(table), options)


OPTIONS = (
    GROUP,
    Option(names=("--egress",), help="For what leaves instances (only in a VPC)."),
    Option(names=("-P", "--protocol"), value="PROTOCOL", help="tcp, udp, icmp, or a number. [tcp]", read=protocol),
    Option(names=("-p", "--port-range"), value="RANGE", help="Ports: 80, 80-84, or -1 for all.", read=ports),
    Option(
        names=("-t", "--icmp-type-code"), value="TYPE:CODE", help="ICMP type and code; -1: all.", read=type_and_code
    ),
    Option(
        names=("-s", "--cidr", "--source-subnet"),
        value="CIDR",
        help=f"Addresses that it is for. Can be repeated. [{ANYWHERE}]",
        repeated=True,
        default=(),
    ),
    Option(
        names=("-o", "--source-or-dest-group", "--source-group"),
        value="GROUP",
        help="A group whose instances it is for. Can be repeated.",
        repeated=True,
        default=(),
    ),
    Option(
        names=("-u", "--source-or-dest-group-user", "--source-group-user"),
        value="ACCOUNT",
        help="That group's owner, for each -o in turn. [you]",
        read=account,
        repeated=True,
        default=(),
    ),
    *api.API,
)
_OUTPUT = """\
output:
  GROUP       (empty), (empty), the group as it was named
  PERMISSION  (empty), group, ALLOWS, protocol, first port, last port (of ICMP type and code), then
              FROM, CIDR, range, ingress; or FROM, USER, account, NAME group, ingress"""
AUTHORIZE = Command(
    name="ec2-authorize",
    summary="Let something in to the instances of a security group.",
    options=OPTIONS,
    run=authorize,
    examples="""\
ec2-authorize default -p 22
ec2-authorize websrv -P tcp -p 80 -s 205.192.0.0/16
ec2-authorize database -o websrv
ec2-authorize default -P icmp -t -1:-1""",
    manual=f"""\
details:
  Without -s and -o it is for everybody. A group (-o) alone is let in on every port of tcp and udp,
  and with all of icmp, as in EC2's first years. Several rules that one line names come together or
  not at all. Rules take effect at once, on instances that run too.

{_OUTPUT}""",
    interrupted="the rule may be there: see ec2-describe-group",
)
REVOKE = Command(
    name="ec2-revoke",
    summary="Take a rule of a security group back: with the very options that ec2-authorize was given.",
    options=OPTIONS,
    run=revoke,
    examples="""\
ec2-revoke default -p 22
ec2-revoke websrv -P tcp -p 80 -s 205.192.0.0/16""",
    manual=_OUTPUT,
    interrupted="the rule may be gone: see ec2-describe-group",
)


def authorize_main() -> None:
    enter(AUTHORIZE)


def revoke_main() -> None:
    enter(REVOKE)
