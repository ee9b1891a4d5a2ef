"""Buckets as the classic commands name them: `bucket/some/prefix`, or `s3://bucket/some/prefix`."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.classic.command import Options
from builder.classic.place import SIGNING_REGION, Place
from builder.cli import output
from builder.errors import RecipeError

if TYPE_CHECKING:
    from builder.cloud.s3 import Bucket

_SCHEME = "s3://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""What a bucket can be called anywhere: capitals and 255 characters too, of which us-east-1 has old ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A bucket, and a key prefix without slashes at its ends."""

    bucket: str
    prefix: str


def address(text: str) -> Address | None:
    """The address in S3 that a destination is; None for a path on this machine."""
    return parse(text) if text.startswith(_SCHEME) else None


def parse(text: str) -> Address:
    """The first slash ends the bucket's name; doubled ones, which EC2 does not find again, are taken as one."""
    name, _, rest = text.removeprefix(_SCHEME).partition("/")
    if not name:
        raise RecipeError(f'"{text}" names no bucket', hint="write BUCKET or BUCKET/PREFIX")
    if _NAME.fullmatch(name) is None:
        raise RecipeError(f'"{name}" cannot be the name of a bucket', hint="write BUCKET or BUCKET/PREFIX")
    steps = [each for each in rest.split("/") if each]
    if not {".", ".."}.isdisjoint(steps):
        raise RecipeError(
            f'"{text}" has a step . or .. in it',
            hint="to S3 they are names, and to those who fetch an address they are not: EC2 would look elsewhere",
        )
    return Address(bucket=name, prefix="/".join(steps))


def parse_manifest(text: str) -> tuple[Address, str]:
    """`bucket/prefix/NAME` of a manifest, and NAME by itself; RecipeError where it is a bucket only."""
    found = parse(text)
    if not found.prefix:
        raise RecipeError(f'"{text}" is no manifest in S3', hint="write s3://BUCKET/PREFIX/NAME.manifest.xml")
    prefix, _, name = found.prefix.rpartition("/")
    return replace(found, prefix=prefix), name


def bucket(place: Place, name: str) -> "Bucket":
    """The bucket, whoever owns it: bundles are uploaded for others, and read where they are public."""
    from builder.cloud.s3 import Bucket

    return Bucket(client=place.client("s3"), name=name)


def ready(place: Place, target: Address) -> "Bucket":
    """The bucket of an upload, made when there is none.

    As the manual says of us-east-1, the region that nobody had to name: a bucket that is elsewhere is used there.
    """
    from builder.cloud import buckets

    found = bucket(place, target.bucket)
    if place.region == SIGNING_REGION and place.endpoint_url is None:
        actual = buckets.region_of(found)
        if actual not in ("", place.region):
            output.say(f"note: the bucket {target.bucket} is in {actual}: register there, with --region {actual}")
            found = bucket(replace(place, region=actual), target.bucket)
    if buckets.ensure_bucket(found):
        output.result("Creating bucket...")
    return found


def say_registration(options: Options, location: str) -> None:
    """The command that comes next."""
    where = f" --region {options.region}" if options.region else ""
    output.say(f"hint: register it: ec2-register {location}{where}")
