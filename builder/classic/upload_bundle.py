"""ec2-upload-bundle: a bundle on this machine into S3."""

from pathlib import Path
from typing import TYPE_CHECKING

from builder.classic import bucket
from builder.classic import place as places
from builder.classic.command import Command, Options, enter
from builder.classic.options import ACL, COMMON, S3, YES, Option, whole
from builder.cli import output
from builder.cli.meter import Meter
from builder.errors import RecipeError

if TYPE_CHECKING:
    from builder.classic.place import Place
    from builder.formats.bundle_manifest import BundleManifest

OPTIONS = (
    Option(names=("-m", "--manifest"), value="PATH", help="The bundle's manifest.", required=True),
    Option(names=("-d", "--directory"), value="PATH", help="Where the parts are, if not beside the manifest."),
    ACL,
    Option(names=("--part",), value="NUMBER", help="Send this part and those after it only.", read=whole, default=0),
    Option(names=("--skipmanifest",), help="Send the parts without the manifest."),
    Option(
        names=("--location",),
        value="LOCATION",
        help="The region of a bucket that has to be made, as --region; also US and EU.",
    ),
    *S3,
    YES,
    *COMMON,
)


def run(options: Options) -> None:
    """Upload what is missing, the manifest last; the original's lines go to stdout."""
    from builder.bundles import send

    target = bucket.parse(options.bucket)
    manifest = Path(options.manifest)
    parsed = _manifest(manifest)
    if options.part and options.part >= len(parsed.parts):
        raise RecipeError(
            f"--part {options.part}: the bundle has {len(parsed.parts)} parts, from 0 to {len(parsed.parts) - 1}"
        )
    place = _place(options)
    stored = bucket.ready(place, target)
    output.result(f"Uploading bundled image parts to the S3 bucket {target.bucket} ...")
    with Meter("upload", wanted=options.progress) as meter:
        sent = send.upload(
            manifest,
            stored,
            target.prefix,
            acl=options.acl,
            directory=Path(options.directory) if options.directory else None,
            first=options.part,
            with_manifest=not options.skipmanifest,
            progress=meter,
        )
    for part in parsed.parts[options.part :]:
        output.result(f"Uploaded {part.filename}")
    if not options.skipmanifest:
        output.result("Uploading manifest ...\nUploaded manifest.")
    output.result("Bundle upload completed.")
    if sent.kept and not options.part and not options.skipmanifest:
        output.say(f"note: {output.size(sent.kept)} were there already, {output.size(sent.sent)} were sent")
    if not options.skipmanifest:
        bucket.say_registration(options, sent.location)


def _manifest(path: Path) -> "BundleManifest":
    from builder.bundles.directory import read_manifest_file
    from builder.formats.manifest_reader import read_manifest

    return read_manifest(read_manifest_file(path))


def _place(options: Options) -> "Place":
    """Where the options say; --location must be of the same region, since EC2 reads buckets of its own only."""
    from builder.catalog.regions import region
    from builder.cloud.buckets import region_of_location

    location = region_of_location(options.location) if options.location else ""
    if location:
        region(location)
    place = places.find(options, "s3", location=location)
    if location and place.is_local:
        output.say("note: --location has no meaning in the local region: it is one place")
    elif location and place.region != location:
        raise RecipeError(
            f"--location {options.location} is {location}, and the requests are for {place.region}",
            hint="give --region only: a bucket is made in the region that is asked",
        )
    return place


COMMAND = Command(
    name="ec2-upload-bundle",
    summary="Store a bundle in S3, where EC2 can read it; the manifest last, so that where it is, all is.",
    options=OPTIONS,
    run=run,
    examples="""\
ec2-upload-bundle -b my-bucket/web -m bundles/disk.img.manifest.xml -a KEY -s SECRET
AWS_ACCESS_KEY=... AWS_SECRET_KEY=... ec2-upload-bundle -b my-bucket -m disk.img.manifest.xml --region eu-west-1""",
    manual="""\
details:
  A bucket that is not there is made, in the region that is asked, with access lists allowed.
  Run again after a failure it sends what is missing; what S3 has is known by its checksum. Parts
  are taken in the manifest's order, whatever their names. It refuses to mix two bundles of one
  name below one prefix, and a bucket in which EC2 could not read, and says the remedy.
  --part and --skipmanifest do in steps what one run does; a restart needs neither.""",
    interrupted="what was sent is kept, and running it again sends the rest",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
