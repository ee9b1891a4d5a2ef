"""The verb snapshot download."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output
from builder.cli.meter import Meter
from builder.cli.usage import NoVerbIsHelp
from builder.errors import RecipeError, RegionError
from builder.factory import Factory

if TYPE_CHECKING:
    from builder.cloud.ebs_download import Downloaded

app = typer.Typer(cls=NoVerbIsHelp, help="Snapshots of EBS.")

_ID = re.compile(r"(snap|ami)-[0-9a-f]{8,17}")


@app.callback()
def _group() -> None:
    """So that `download` stays a verb of its own while it is the only one."""


@app.command()
def download(
    what: Annotated[
        str, typer.Argument(metavar="SNAPSHOT|AMI", help="snap-..., or ami-... for its root.", show_default=False)
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the disk image goes.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    json: o.Json = False,
) -> None:
    """Fetch a snapshot's volume as a sparse disk image.

    By the EBS direct API, many blocks at a time, each held against its checksum. FILE appears when it is whole. Until
    then it is FILE.part, and the same command goes on where it was broken off.

    \b
    Examples:
      ami-factory snapshot download ami-0123456789abcdef0 web.img --region us-east-1
    """
    place = o.factory(region=region, profile=profile, endpoint_url=endpoint_url)
    snapshot, done = fetch(place, what, file, force=force)
    if json:
        output.document(
            "snapshot-download",
            snapshot_id=snapshot,
            path=str(file),
            bytes=done.size,
            blocks=done.blocks,
            blocks_fetched=done.fetched,
            blocks_kept=done.kept,
        )
        return
    output.result(str(file))
    kept = f", {done.kept} of them fetched before" if done.kept else ""
    output.say(f"{snapshot}: {output.size(done.size)}, {output.counted(done.blocks, 'block')} of 512 KiB{kept}")


def fetch(place: Factory, what: str, file: Path, *, force: bool = False) -> "tuple[str, Downloaded]":
    """The volume of a snapshot, or of the root of an AMI, as a file; the snapshot's id. RecipeError for neither."""
    if _ID.fullmatch(what) is None:
        raise RecipeError(f'"{what}" is no id of a snapshot or an AMI', hint="write one such as snap-0123456789abcdef0")
    if not file.absolute().parent.is_dir():
        raise RecipeError(f"{file.absolute().parent} is not a directory", hint="make it, or choose another place")
    reached = place.region(start=False)
    if reached is None:
        raise RegionError(
            f"{what} would be in the local region, which is not running",
            hint="start it: ami-factory region start; or name another region with --region",
        )
    from builder.cloud.ebs import Direct
    from builder.cloud.ebs_download import download as downloaded
    from builder.cloud.session import client
    from builder.cloud.snapshots import root_snapshot

    ec2 = client("ec2", reached.surroundings, reached.name)
    snapshot = root_snapshot(ec2, what) if what.startswith("ami-") else what
    direct = Direct(lambda: client("ebs", reached.surroundings, reached.name))
    with Meter("download") as meter:
        return snapshot, downloaded(direct, snapshot, file, replace=force, progress=meter)
