"""The verb diff: what is other in the second of two images."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output
from builder.cli.sides import Finder
from builder.errors import BuilderError, Exit
from builder.host.directories import cache_directory

if TYPE_CHECKING:
    from builder.compare.differences import Differences

Before = Annotated[
    str,
    typer.Argument(
        metavar="A",
        help="An image, a bundle's manifest or directory (also s3://BUCKET/KEY), a step's key, an AMI or a snapshot.",
        show_default=False,
    ),
]
After = Annotated[str, typer.Argument(metavar="B", help="What it is compared with.", show_default=False)]
PrivateKey = Annotated[
    Path | None,
    typer.Option("--private-key", metavar="FILE", help="Opens bundles.", show_default=False),
]
Everything = Annotated[bool, typer.Option("--all", help="Every line, however many.")]


def diff(
    before: Before,
    after: After,
    private_key: PrivateKey = None,
    everything: Everything = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Say what differs between two images: packages, files, settings, disk.

    Bundles and AMIs are fetched first. Equal images are told by their blocks; else both are read, neither is mounted.
    Texts are shown of small files under /etc and of boot menus, if everybody may read them.

    Exit code 0 when nothing differs, 1 when something does, 2 or more when that cannot be told.

    \b
    Examples:
      ami-factory diff 3f9c1d02ab77 disk.raw
      ami-factory diff ami-0123456789abcdef0 ami-0fedcba9876543210 --region us-east-1
    """
    factory = o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store)
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="diff-", dir=cache) as place:
            fetched, scratch = Path(place) / "images", Path(place) / "scratch"
            fetched.mkdir()
            scratch.mkdir()
            finder = Finder(factory=factory, private_key=private_key, scratch=fetched)
            found, total = differences(finder.find(before), finder.find(after), scratch)
    except BuilderError as error:
        if error.exit is Exit.BUILD:  # 1 says that they differ
            error.exit = Exit.USAGE
        raise
    tell(found, total, before, after, everything=everything, json=json)
    if not found.equal:
        raise typer.Exit(Exit.BUILD)


def differences(before: Path, after: Path, scratch: Path) -> "tuple[Differences, int]":
    """What differs between two images, and how many blocks of 512 KiB the larger one has."""
    from builder.compare.differences import Differences, blocks_that_differ, compare
    from builder.compare.image import Places, digests, read_images

    try:
        old, new = digests(before), digests(after)
    except OSError as error:
        raise BuilderError(f"{error.filename or before} cannot be read: {error.strerror}") from error
    total, other = max(len(old), len(new)), blocks_that_differ(old, new)
    if not other and before.stat().st_size == after.stat().st_size:
        return Differences(), total
    places = Places(cache=cache_directory() / "appliance", scratch=scratch)
    first, second = read_images((before.absolute(), after.absolute()), places)
    return compare(first, second, blocks=other), total


def tell(found: "Differences", total: int, before: str, after: str, *, everything: bool, json: bool) -> None:
    """The result, on stdout."""
    from builder.cli.difference import document, text

    if json:
        output.document("diff", before=before, after=after, **document(found, total))
    elif found.equal:
        output.say(f"{before} and {after} are equal")
    else:
        for line in text(found, total, limit=None if everything else _LINES):
            output.result(line)


_LINES = 40
"""Of each part of what is told to people."""
