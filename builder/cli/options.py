"""Options that the verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from builder.cli import output
from builder.cli.progress import Quiet
from builder.factory import Factory, Options, Selection

Recipes = Annotated[list[Path], typer.Argument(help="Recipe files.", show_default=False)]
OneRecipe = Annotated[Path, typer.Argument(help="A recipe file.", show_default=False)]
Region = Annotated[str, typer.Option("--region", help="`local`, or an AWS region.", envvar="AMI_FACTORY_REGION")]
Profile = Annotated[str | None, typer.Option("--profile", help="AWS profile.", show_default=False)]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", help="Another EC2 and S3 endpoint.", show_default=False)
]
StorePath = Annotated[
    Path | None,
    typer.Option("--store", help="Where finished outputs are kept.", envvar="AMI_FACTORY_STORE", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
QuietFlag = Annotated[bool, typer.Option("-q", "--quiet", help="Say only warnings and errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
Jobs = Annotated[int, typer.Option("--jobs", help="Steps at a time; 0: as many as there are cores.", min=0)]
Types = Annotated[list[str], typer.Option("--instance-type", help="Only this instance type.", show_default=False)]
Arches = Annotated[list[str], typer.Option("--arch", help="Only this architecture.", show_default=False)]
Virtual = Annotated[list[str], typer.Option("--virtualization", help="Only pv or hvm.", show_default=False)]


def factory(
    *,
    region: str = "local",
    profile: str | None = None,
    endpoint_url: str | None = None,
    store: Path | None = None,
    jobs: int = 0,
    listener: Quiet | None = None,
) -> Factory:
    """The factory that these options describe."""
    options = Options(
        region=region,
        profile=profile,
        endpoint_url=endpoint_url,
        store=store.absolute() if store else None,
        jobs=jobs,
    )
    return Factory(options=options, listener=listener or Quiet(), say=output.say)


def selection(types: list[str], arches: list[str], virtual: list[str]) -> Selection:
    return Selection(architectures=tuple(arches), instance_types=tuple(types), virtualization=tuple(virtual))
