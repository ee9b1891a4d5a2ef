"""ec2-delete-bundle: one bundle out of S3."""

from pathlib import Path
from typing import TYPE_CHECKING

from builder.classic import bucket, questions
from builder.classic import place as places
from builder.classic.command import Command, Options, enter
from builder.classic.options import COMMON, S3, YES, Option
from builder.cli import output
from builder.errors import RecipeError

if TYPE_CHECKING:
    from builder.bundles.remove import Removed
    from builder.cloud.s3 import Bucket

OPTIONS = (
    Option(
        names=("-m", "--manifest"),
        value="PATH",
        help="Its manifest: a file here, or else the name of one in the bucket.",
    ),
    Option(names=("--local-manifest",), value="PATH", help="Its manifest: a file here."),
    Option(names=("-p", "--prefix"), value="NAME", help="Its whole name: disk.img for disk.img.manifest.xml."),
    Option(names=("--clear",), help="Remove the bucket too, if nothing else is in it."),
    *(each for each in S3 if each.name != "progress"),
    YES,
    *COMMON,
)


def run(options: Options) -> None:
    """Name the files, ask, and delete them; the original's lines go to stdout."""
    from builder.cloud.buckets import delete_empty

    given = [each for each in (options.manifest, options.local_manifest, options.prefix) if each]
    if len(given) != 1:
        raise RecipeError(
            f"which bundle? {'None' if not given else 'More than one'} was named", hint="give -m MANIFEST or -p NAME"
        )
    target = bucket.parse(options.bucket)
    stored = bucket.bucket(places.find(options, "s3"), target.bucket)
    files = _delete(options, stored, target.prefix, dry_run=True).keys
    if files:
        output.result("\n".join(["Deleting files:", *(f"{target.bucket}/{key}" for key in files)]))
        otherwise = f"{len(files)} files would be deleted, and nobody was asked"
        questions.agreed("Continue?", options, otherwise=otherwise)
        _delete(options, stored, target.prefix, dry_run=False)
        output.result("\n".join(f"Deleted {target.bucket}/{key}" for key in files))
    else:
        output.warn(f"there are no files of the bundle {given[0]} in {options.bucket}")
    if options.clear:
        gone = delete_empty(stored)
        output.say(f"the bucket {target.bucket} {'was removed' if gone else 'stays: it is not empty'}")
    output.result(f"{COMMAND.name} complete.")


def _delete(options: Options, stored: "Bucket", prefix: str, *, dry_run: bool) -> "Removed":
    from builder.bundles import remove
    from builder.bundles.directory import read_manifest_file

    if options.prefix:
        return remove.delete_named(stored, prefix, options.prefix, dry_run=dry_run)
    path = Path(options.local_manifest or options.manifest)
    if options.manifest and not path.exists() and path.name == options.manifest:
        return remove.delete_bundle(stored, prefix, path.name, dry_run=dry_run)
    return remove.delete_bundle(stored, prefix, path.name, manifest=read_manifest_file(path), dry_run=dry_run)


COMMAND = Command(
    name="ec2-delete-bundle",
    summary="Delete exactly one bundle from S3: its manifest and its parts. An AMI made of it cannot start any more.",
    options=OPTIONS,
    run=run,
    examples="""\
ec2-delete-bundle -b my-bucket/web -p disk.img -a KEY -s SECRET
ec2-delete-bundle -b my-bucket -m bundles/disk.img.manifest.xml -y --region us-east-1""",
    manual="""\
details:
  The files are named before anything is deleted, and nothing is deleted unless that is answered
  with yes: at a terminal, or beforehand with -y. Deregister the AMI first.
  Other bundles in the bucket, and files whose names only begin like the bundle's, stay.""",
    interrupted="what is left of the bundle goes when it is run again",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
