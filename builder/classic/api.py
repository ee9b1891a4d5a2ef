"""What the commands of the EC2 API have in common: where a call goes, filters, and how a table is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from builder.classic import options as o
from builder.classic import place as places
from builder.classic.command import Options
from builder.classic.lines import Line, text
from builder.classic.options import Option
from builder.cli import output
from builder.errors import RecipeError

if TYPE_CHECKING:
    from builder.cloud.ec2_calls import Answer
    from builder.cloud.errors import Client

_SHOWN = "how the table is shown"
_TABLE = {
    "show_empty_fields": Option(
        names=("--show-empty-fields",), help="Show what is empty as (nil).", heading=_SHOWN, default=False
    ),
    "hide_tags": Option(names=("--hide-tags",), help="Leave the TAG lines out.", heading=_SHOWN, default=False),
}
API = (
    *(each for each in o.API if each.name not in _TABLE and each.heading != o.COMMON[0].heading),
    *_TABLE.values(),
    *(each for each in o.API if each.heading == o.COMMON[0].heading),
)
"""The general options of the API tools, for a command that prints a table."""


def filtered(given: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise RecipeError(f'"{given}" is no filter', hint="write NAME=VALUE, such as instance-state-name=running")
    return name, value


FILTER = Option(
    names=("-F", "--filter"),
    value="NAME=VALUE",
    help="Only what has this value. Can be repeated: other names must hold too, a name again is an alternative.",
    read=filtered,
    repeated=True,
    default=(),
)


def filters(options: Options) -> list[dict[str, Any]]:
    """The filters as the API takes them: the values of one name together."""
    found: dict[str, list[str]] = {}
    for name, value in options.filter:
        found.setdefault(name, []).append(value)
    return [{"Name": name, "Values": values} for name, values in found.items()]


def given(**request: Any) -> dict[str, Any]:
    """A request of only what was given."""
    return {name: value for name, value in request.items() if value not in (None, "", (), [], False)}


def named(groups: Sequence[str], *, ids: str, names: str) -> dict[str, Any]:
    """Security groups by id (sg-...) and by name, under the request's members for either."""
    identifiers = [each for each in groups if each.startswith("sg-")]
    return given(**{ids: identifiers, names: [each for each in groups if each not in identifiers]})


def client(options: Options) -> "Client":
    """A client of the region that the options mean; --region counts before --url, as with the originals."""
    meant = Options(**{**vars(options), "url": None if options.region else options.url})
    return places.find(meant, "ec2").client("ec2")


def ask(options: Options, operation: str, request: Mapping[str, Any], about: str) -> "Answer | None":
    """The answer; None when only the right to ask was asked for (--dry-run), and was given, which is said."""
    from builder.cloud import ec2_calls

    if options.dry_run:
        output.say(ec2_calls.may(client(options), operation, request, about))
        return None
    return ec2_calls.call(client(options), operation, request, about)


def listed(
    options: Options, operation: str, member: str, *requests: Mapping[str, Any], about: str
) -> "Sequence[Answer]":
    """As `ask`, for Describe calls: what they list, of all pages; nothing in a dry run."""
    from builder.cloud import ec2_calls

    region = client(options)
    if options.dry_run:
        for request in requests:
            output.say(ec2_calls.may(region, operation, request, about))
        return ()
    return [each for request in requests for each in ec2_calls.listed(region, operation, member, request, about)]


def show(lines: Sequence[Line], options: Options) -> None:
    """Print a table as the options want it; nothing at all for no lines."""
    shown = text(lines, empty="(nil)" if options.show_empty_fields else "", tags=not options.hide_tags)
    if shown:
        output.result(shown)


REQUIRED_INSTANCES = Option(
    names=("INSTANCE",), value="INSTANCE", help="Ids of instances.", required=True, repeated=True, default=()
)
INSTANCES = replace(REQUIRED_INSTANCES, required=False, help="Ids of instances; all of yours when none is given.")
