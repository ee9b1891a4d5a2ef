"""The verb ssh: log in to an instance, wherever the region put its port 22."""

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output, ssh_config
from builder.errors import RecipeError, RegionError
from builder.host.directories import state_directory

if TYPE_CHECKING:
    from builder.cloud.ec2_instances import Instance
    from builder.cloud.errors import Client

KNOCK_SECONDS = 10.0
_UNTIL_REACHED = {"pending": "run it again in a moment", "running": "run it again in a moment"}

InstanceId = Annotated[str, typer.Argument(metavar="INSTANCE", help="The instance's id.", show_default=False)]
Words = Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="What to run there, not a shell.")]
Identity = Annotated[
    Path | None, typer.Option("--identity", "-i", metavar="FILE", help="The private key.", show_default=False)
]
User = Annotated[
    str | None, typer.Option("--login", "-l", metavar="USER", help="Log in as. [root]", show_default=False)
]
Config = Annotated[bool, typer.Option("--config", help="Only write the configuration; stdout: its path.")]


def ssh(
    instance: InstanceId = "",
    command: Words = None,
    identity: Identity = None,
    login: User = None,
    config: Config = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
) -> None:
    """Log in to an instance, or run a command there. Its exit code is that of ssh.

    Without -i the keys are those that ssh finds: the agent's, and ~/.ssh. Host keys are kept apart from yours. The
    configuration with all running instances is for scp, rsync and the like.

    \b
    Examples:
      ami-factory ssh -i gsg-keypair.pem i-0123456789abcdef0
      ami-factory ssh i-0123456789abcdef0 uname -m
      scp -F $(ami-factory ssh --config) page.html i-0123456789abcdef0:/var/www/
    """
    from builder.cloud.ec2_instances import find_instances
    from builder.host import process

    if not instance and not config:
        raise RecipeError("which instance?", hint="see: ec2-describe-instances")
    if identity is not None and not identity.is_file():
        raise RecipeError(f"the private key {identity} is not there", hint="-i names the file of the private key")
    client = _client(region, profile, endpoint_url)
    everyone = find_instances(client)
    place = state_directory() / "ssh"
    path = write(place, everyone)
    if config:
        output.result(str(path))
    if not instance:
        return
    wanted = next((each for each in everyone if each.id == instance), None) or find_instances(client, (instance,))[0]
    knock(wanted)
    process.require("ssh", "openssh-client")
    words = ssh_config.command(path, wanted.id, command or (), identity=identity, user=login)
    raise typer.Exit(process.attached(words))


def write(place: Path, instances: "tuple[Instance, ...]") -> Path:
    """The configuration for all that can be reached; whoever reads it meanwhile sees the old one or the new one."""
    hosts = [
        ssh_config.Host(name=each.id, address=each.address, port=each.port)
        for each in instances
        if each.state == "running" and each.address
    ]
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=place, prefix="config.")
    with os.fdopen(handle, "w") as file:
        file.write(ssh_config.text(hosts, place / "known_hosts"))
    return Path(name).rename(place / "config")


def knock(instance: "Instance") -> None:
    """RegionError, with what to do about it, when nobody is let in there."""
    if instance.state != "running" or not instance.address:
        raise RegionError(
            f"{instance.id} is {instance.state}" + ("" if instance.address else ", and has no address"),
            detail=instance.reason,
            hint=_UNTIL_REACHED.get(instance.state, "see: ec2-describe-instances"),
        )
    try:
        socket.create_connection((instance.address, instance.port), timeout=KNOCK_SECONDS).close()
    except OSError as error:
        raise RegionError(
            f"{instance.id} does not answer at {instance.address}, port {instance.port}: {error.strerror or error}",
            hint=f"let yourself in: ec2-authorize {next(iter(instance.groups), 'default')} -p 22",
        ) from error


def _client(region: str, profile: str | None, endpoint_url: str | None) -> "Client":
    from builder.cloud import session

    reached = o.factory(region=region, profile=profile, endpoint_url=endpoint_url).region(start=False)
    if reached is None:
        raise RegionError(
            "the local region is not running, and no instance is", hint="start it: ami-factory region start"
        )
    return session.client("ec2", reached.surroundings, reached.name)
