"""Options that the verbs share."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from builder.cli import output
from builder.cli.endpoint import endpoint
from builder.cli.progress import Quiet
from builder.errors import HostError, RecipeError
from builder.factory import Factory, Options, Selection
from builder.formats.toml import printable
from builder.recipe.model import BOOT_LEVELS

Recipes = Annotated[list[Path], typer.Argument(metavar="RECIPE", help="Recipe files.", show_default=False)]
Region = Annotated[
    str, typer.Option("--region", metavar="NAME", help="`local`, or an AWS region.", envvar="AMI_FACTORY_REGION")
]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="AWS profile.", show_default=False)]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="Another EC2 and S3 endpoint.",
        show_default=False,
        callback=endpoint,
    ),
]
StorePath = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="DIRECTORY",
        help="Where finished outputs are kept.",
        envvar="AMI_FACTORY_STORE",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
QuietFlag = Annotated[bool, typer.Option("-q", "--quiet", help="Say only warnings and errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the log of every step as it ends.")]
Jobs = Annotated[
    int, typer.Option("--jobs", metavar="N", help="Steps at a time; 0: as many as there are cores.", min=0)
]
Types = Annotated[
    list[str],
    typer.Option(
        "--instance-type", metavar="TYPE", help="Only this instance type. Can be repeated.", show_default=False
    ),
]
Arches = Annotated[
    list[str],
    typer.Option("--arch", metavar="ARCH", help="Only this architecture. Can be repeated.", show_default=False),
]
Virtual = Annotated[
    list[str],
    typer.Option("--virtualization", metavar="KIND", help="Only pv or hvm. Can be repeated.", show_default=False),
]

Limit = Annotated[
    list[str],
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        help="Another limit than the recipe's: time, memory, processes, disk or log. Can be repeated.",
        show_default=False,
    ),
]
Boot = Annotated[
    str,
    typer.Option(
        "--boot",
        metavar="LEVEL",
        help=f"Another level of the boot proof than the recipe's: {', '.join(BOOT_LEVELS)}.",
        envvar="AMI_FACTORY_BOOT",
        show_default=False,
    ),
]


def factory(
    *,
    region: str = "local",
    profile: str | None = None,
    endpoint_url: str | None = None,
    store: Path | None = None,
    jobs: int = 0,
    listener: Quiet | None = None,
    limits: Mapping[str, int] | None = None,
) -> Factory:
    """The factory that these options describe; HostError for a store that cannot be one."""
    options = Options(
        region=region,
        profile=profile,
        endpoint_url=endpoint_url,
        store=store.absolute() if store else None,
        jobs=jobs,
        limits=limits or {},
    )
    made = Factory(options=options, listener=listener or Quiet(), say=output.say)
    _check_store(made.store.root)
    return made


def _check_store(root: Path) -> None:
    """One that is missing is fine: it is made when something is kept."""
    if root.is_dir():
        wrong = "" if os.access(root, os.R_OK | os.X_OK) else "it cannot be read by this user"
    else:
        wrong = "it is not a directory" if root.exists() else ""
    if wrong:
        raise HostError(f"the store {root}: {wrong}", hint="choose another place with --store")


def selection(types: list[str], arches: list[str], virtual: list[str], boot: str) -> Selection:
    """What these options choose. RecipeError for a level of the boot proof that there is not."""
    return Selection(
        architectures=tuple(arches),
        instance_types=tuple(types),
        virtualization=tuple(virtual),
        boot=boot_level(boot),
    )


def boot_level(given: str) -> str:
    """The level of the boot proof that --boot says, "" for the recipe's own. RecipeError for one that there is not."""
    if given and given not in BOOT_LEVELS:
        raise RecipeError(f'--boot: "{printable(given)}" is not a level', hint=f"choose from {', '.join(BOOT_LEVELS)}")
    return given
