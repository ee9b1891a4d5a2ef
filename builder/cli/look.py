"""The verbs shell, logs and doctor: looking inside."""

import sys
from typing import Annotated

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output
from builder.errors import BuilderError

StepName = Annotated[
    str,
    typer.Argument(metavar="KEY", help="The first digits of a step's key, as `plan` prints it.", show_default=False),
]


def logs(step: StepName, store: o.StorePath = None) -> None:
    """Print the log of a step's last run.

    \b
    Example:
      ami-factory logs 3f9c1d02ab77
    """
    place = o.factory(store=store).store
    path = place.log_path(place.find(step))
    try:
        output.result(path.read_text(errors="replace").rstrip("\n"))
    except FileNotFoundError:
        raise BuilderError(f"step {step} has not been run here", hint="see: ami-factory plan RECIPE") from None


def shell(step: StepName, store: o.StorePath = None) -> None:
    """Open a shell in a throw-away copy of a step's root tree.

    The tree is as the step left it, or, of a failed step, as it began. Commands can be piped in as well.

    \b
    Examples:
      ami-factory shell 3f9c1d02ab77
      echo 'rpm -qa' | ami-factory shell 3f9c1d02ab77
    """
    from builder.shell import open_shell

    place = o.factory(store=store).store
    key = place.find(step)
    raise typer.Exit(open_shell(place, key))


def doctor(
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Say what this machine lacks, and the command that mends it.

    What killed builds left behind is named as well.

    Exit code 3 when something is missing without which nothing can be built.
    """
    from builder.doctor import Severity, examine
    from builder.host.directories import cache_directory, region_directory

    findings = examine(
        o.factory(store=store).store.root,
        cache_directory(),
        region_directory(),
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
    )
    if json:
        output.document(
            "doctor",
            findings=[{"id": f.id, "severity": f.severity.value, "what": f.what, "remedy": f.remedy} for f in findings],
        )
    else:
        for each in findings:
            style = "good" if each.severity is Severity.OK else each.severity.value
            output.result(f"{output.styled(each.severity.value.ljust(8), style, sys.stdout)} {each.what}")
            if each.remedy:
                output.result(f"{'':<8} {each.remedy}")
    if any(each.severity is Severity.ERROR for each in findings):
        raise typer.Exit(3)
