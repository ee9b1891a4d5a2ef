"""ec2-download-bundle: a bundle from S3 into a directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from builder.classic import bucket, signer
from builder.classic import place as places
from builder.classic.command import Command, Options, enter
from builder.classic.options import COMMON, S3, YES, Option
from builder.cli import output
from builder.cli.meter import Meter
from builder.errors import RecipeError

if TYPE_CHECKING:
    from builder.cloud.s3 import Bucket

SUFFIX = ".manifest.xml"
USUAL = "image"
"""The manual's default for -p."""

OPTIONS = (
    Option(names=("-m", "--manifest"), value="NAME", help="File name of the manifest, without a path."),
    Option(
        names=("-p", "--prefix"),
        value="NAME",
        help=f"Name of the bundle: NAME{SUFFIX}. By default the only one there, or {USUAL}.",
    ),
    Option(names=("-d", "--directory"), value="PATH", help="Where to put it. [.]", default="."),
    Option(
        names=("-k", "--privatekey"),
        value="PATH",
        help="Your private key: opens a manifest that is encrypted itself, as those of 2006 are.",
        variables=("EC2_PRIVATE_KEY",),
    ),
    *S3,
    YES,
    *COMMON,
)


def run(options: Options) -> None:
    """Download the bundle, every part checked; the original's lines go to stdout."""
    from builder.bundles import fetch
    from builder.formats.manifest_reader import open_manifest, read_manifest

    target = bucket.parse(options.bucket)
    directory = Path(options.directory)
    if not directory.is_dir():
        raise RecipeError(f"{directory} is no directory", hint="make it first: -d names a directory that is there")
    key = signer.private_key(Path(options.privatekey)) if options.privatekey else None
    stored = bucket.bucket(places.find(options, "s3"), target.bucket)
    name = _manifest_name(options, stored, target.prefix)
    output.result(f"Downloading manifest {name} from {target.bucket} to {directory / name} ...")
    with Meter("download", wanted=options.progress) as meter:
        manifest = fetch.download(
            stored, target.prefix, name, directory, private_key=key, force=options.yes, progress=meter
        )
    data = manifest.read_bytes()
    for part in read_manifest(data if key is None else open_manifest(data, key)).parts:
        output.result(f"Downloaded {part.filename} from {target.bucket}")


def _manifest_name(options: Options, stored: "Bucket", prefix: str) -> str:
    from builder.bundles import fetch

    if options.manifest and options.prefix and options.manifest != options.prefix + SUFFIX:
        raise RecipeError("-m and -p name two bundles", hint="give one of them")
    given = options.manifest or (options.prefix + SUFFIX if options.prefix else "")
    if "/" in given:
        raise RecipeError(f'"{given}" has a path in it', hint="the path belongs to the bucket: -b BUCKET/PATH")
    if given:
        return str(given)
    there = fetch.manifest_names(stored, prefix)
    if len(there) == 1 or USUAL + SUFFIX in there:
        return there[0] if len(there) == 1 else USUAL + SUFFIX
    raise RecipeError(
        f"{options.bucket} holds {len(there)} bundles",
        detail="\n".join(there[:20]),
        hint="say which with -m" if there else "check -b: it is BUCKET/PREFIX",
    )


COMMAND = Command(
    name="ec2-download-bundle",
    summary="Fetch a bundle from S3, all of its parts checked against the manifest.",
    options=OPTIONS,
    run=run,
    examples="""\
ec2-download-bundle -b my-bucket/web -m disk.img.manifest.xml -d bundles -k $EC2_PRIVATE_KEY
ec2-download-bundle -b my-bucket -p disk.img --region us-east-1""",
    manual="""\
details:
  Files appear when all of the bundle is there and right, the manifest last. Run again after a
  failure it fetches what is missing. Other files of the same names are replaced with -y only.""",
    interrupted="what was fetched is kept aside, and running it again fetches the rest",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
