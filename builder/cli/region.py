"""The verbs region start, stop, status, env, ship and reset: the local region."""

import shlex
import sys
from typing import Annotated, Any

import typer

from builder.catalog.regions import AMAZON, LOCAL
from builder.cli import options as o
from builder.cli import output
from builder.cli.usage import NoVerbIsHelp
from builder.errors import RecipeError
from builder.host.directories import region_directory, state_directory

app = typer.Typer(cls=NoVerbIsHelp, help="The local region: EC2 and S3 on this machine.")
Port = Annotated[int, typer.Option("--port", help="0: the one it had, or a free one.", min=0, max=65535)]
GuestMemory = Annotated[int, typer.Option(metavar="MIB", help="The most an instance gets; 0: 512.", min=0)]
Client = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where instances see this host; rules of groups let it in or not.")
]


def _show(status: Any, json: bool) -> None:
    if json:
        output.document(
            "region",
            running=status is not None,
            endpoint_url=status.endpoint_url if status else None,
            pid=status.pid if status else None,
            id=status.id if status else None,
            directory=str(region_directory()),
        )
    elif status is None:
        output.say("region: local (emulated), not running")
    else:
        output.say("region: local (emulated), loopback only")
        output.result(status.endpoint_url)


@app.command()
def start(port: Port = 0, guest_memory: GuestMemory = 0, client: Client = "", json: o.Json = False) -> None:
    """Start it if it is not running; stdout: its endpoint.

    Any AWS client can talk to it.

    \b
    Example:
      aws --endpoint-url $(ami-factory region start) --region us-east-1 \\
          ec2 describe-images --owners self
    """
    from builder.region import control
    from builder.region.wishes import Wishes

    wishes = Wishes(port=port, guest_memory_mib=guest_memory, client=client)
    _show(control.start(region_directory(), wishes), json)


@app.command()
def stop() -> None:
    """Stop it, and all its instances. What is stored stays."""
    from builder.region import control

    stopped = control.stop(region_directory())
    output.say("region: local, stopped" if stopped else "region: local, was not running")


@app.command()
def status(json: o.Json = False) -> None:
    """Say whether it is running; stdout: its endpoint. Exit code 4 when it is not."""
    from builder.region import control

    found = control.status(region_directory())
    _show(found, json)
    if found is None:
        raise typer.Exit(4)


@app.command()
def env() -> None:
    """Start it, and print what a shell needs for the classic commands.

    EC2_URL, S3_URL, EC2_USER, EC2_CERT, EC2_PRIVATE_KEY and the classic
    names of an access key; what is configured for AWS is left alone.

    \b
    Example:
      eval "$(ami-factory region env)"
      ec2-bundle-image -u $EC2_USER -k $EC2_PRIVATE_KEY -c $EC2_CERT \\
          -i disk.img -d bundles
    """
    from builder.identity import load_identity
    from builder.region import control

    found = control.start(region_directory())
    pair = load_identity(state_directory(), note=lambda text: output.say(f"note: {text}"))
    variables = {
        "EC2_URL": found.endpoint_url,
        "S3_URL": found.endpoint_url,
        "EC2_USER": found.account,
        "EC2_CERT": str(pair.certificate.absolute()),
        "EC2_PRIVATE_KEY": str(pair.private_key.absolute()),
        "AWS_ACCESS_KEY": LOCAL,
        "AWS_SECRET_KEY": LOCAL,
    }
    output.say("region: local (emulated), loopback only")
    for name, value in variables.items():
        output.result(f"export {name}={shlex.quote(value)}")


@app.command()
def ship(recipes: o.Recipes, store: o.StorePath = None, jobs: o.Jobs = 0, quiet: o.QuietFlag = False) -> None:
    """Build recipes into AMIs that the region offers: amazon's, public.

    Stdout: one AMI id a line. The region is started if it is not running.

    \b
    Example:
      ami-factory region ship recipes/web-server.toml
      ec2-describe-images -o amazon
    """
    from builder.cli import progress
    from builder.cli.build import build_one
    from builder.cloud.ec2 import make_public
    from builder.cloud.session import client

    shipped: list[str] = []
    for path in recipes:
        with progress.listener(quiet, None) as listener:
            factory = o.factory(profile=AMAZON, store=store, jobs=jobs, listener=listener)
            shipped += build_one(factory, path, quiet=quiet)["results"]
            region = factory.region(start=True)
            assert region is not None
        ec2 = client("ec2", region.surroundings, region.name)
        for image_id in shipped:
            make_public(ec2, image_id)
    for image_id in shipped:
        output.result(image_id)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop it and remove every bucket and image in it."""
    from builder.region import control

    if not yes and not sys.stdin.isatty():
        raise RecipeError("nobody is there to be asked, and nothing was removed", hint="say --yes")
    if not yes and not typer.confirm(f"Remove all buckets and images of {region_directory()}?", err=True):
        raise RecipeError("nothing was removed", hint="say --yes to go on without being asked")
    control.reset(region_directory())
    output.say("region: local, empty")
