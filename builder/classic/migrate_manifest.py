"""ec2-migrate-manifest: a bundle that was made for one region, made good for another."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from builder.classic import place as places
from builder.classic import signer
from builder.classic.command import Command, Options, enter
from builder.classic.options import COMMON, CREDENTIALS, PROFILE, REGION, SIGNER, Option
from builder.cli import output

if TYPE_CHECKING:
    from builder.classic.place import Place
    from builder.cloud.errors import Client

MIGRATE = (
    Option(
        names=("-m", "--manifest"),
        value="PATH",
        help="The manifest: PREFIX.manifest.xml. The old one is kept beside it, as .bak.",
        required=True,
    ),
    *(each for each in SIGNER if each.name != "user"),
    Option(names=("--kernel",), value="AKI", help="Kernel image of the new region, in place of the manifest's."),
    Option(names=("--ramdisk",), value="ARI", help="RAM disk image of the new region, in place of the manifest's."),
    Option(names=("--no-mapping",), help="Do not ask EC2 for the new region's kernel and RAM disk."),
    *CREDENTIALS,
    REGION,
    PROFILE,
    Option(names=("--url", "--ec2-url"), value="URL", help="Another EC2 service.", heading="where"),
    *COMMON,
)


def run(options: Options) -> None:
    """Write the manifest anew; the original's lines go to stdout."""
    from builder.bundles import migrate
    from builder.bundles.directory import read_manifest_file

    path = Path(options.manifest)
    data = read_manifest_file(path)
    for given, kind in ((options.kernel, "kernel"), (options.ramdisk, "ramdisk")):
        if given:
            migrate.check_id(given, kind)
    place = places.find(options, "ec2")
    options.user = _account(data)
    keys = signer.load(options, place).keys
    manifest = migrate.opened(data, keys, str(path))
    migrated = migrate.migrate(
        data,
        keys,
        kernel_id=_replacement(options, place, "kernel", manifest.kernel_id),
        ramdisk_id=_replacement(options, place, "ramdisk", manifest.ramdisk_id),
    )
    output.result("Backing up manifest...")
    kept = migrate.migrate_file(path, migrated)
    output.result(f"Successfully migrated {path}")
    output.result(f"It is now suitable for use in {place.region}.")
    output.say(f"the old manifest is {kept}; upload the new one beside the parts, in a bucket of {place.region}")


def _replacement(options: Options, place: "Place", kind: Literal["kernel", "ramdisk"], present: str) -> str | None:
    """The image for the new region; None to keep what the manifest has."""
    from builder.bundles.migrate import counterpart

    given: str | None = getattr(options, kind)
    if given or options.no_mapping or not present:
        return given
    target = place.client("ec2")
    found = counterpart(present, target, lambda: _regions(place, target))
    output.say(f"{kind}: {present} is {found} in {place.region}")
    return found


def _regions(place: "Place", target: "Client") -> Iterator[tuple[str, "Client"]]:
    """The other regions, each with a client that is made when its turn comes."""
    from builder.cloud.kernel_images import region_names

    for name in region_names(target) if place.given_url is None and not place.is_local else ():
        if name != place.region:
            yield name, replace(place, region=name).client("ec2")


def _account(data: bytes) -> str | None:
    """Of the manifest, so that nobody has to be asked for it; None when only the key opens it."""
    from builder.formats.manifest_reader import is_encrypted, read_manifest

    return None if is_encrypted(data) else read_manifest(data).account.replace("-", "")


COMMAND = Command(
    name="ec2-migrate-manifest",
    summary="Make a bundle's manifest good for another region: key wrapped for its EC2, kernel of its own.",
    options=MIGRATE,
    run=run,
    examples="""\
ec2-migrate-manifest -m bundles/web.manifest.xml -c cert.pem -k pk.pem --region eu-west-1
ec2-migrate-manifest -m web.manifest.xml -c cert.pem -k pk.pem --region cn-north-1 --kernel aki-9e8f1da7""",
    manual="""\
details:
  The signature is checked against your certificate first. Then the bundle's key is unwrapped with
  your private key and wrapped for the EC2 certificate of --region, or that of --ec2cert; the
  original leaves it as it is, and what it migrates between partitions (to or from us-gov-west-1
  and cn-north-1) registers and never starts.
  A kernel or RAM disk that the region does not have is looked for in the other regions, and
  replaced by the one of the same owner, kind and location there. Other partitions cannot be
  searched: say --kernel, or --no-mapping.
  Parts, digests, mappings, product codes and ancestry are carried over. Manifests of older
  versions become 2007-10-10. MANIFEST.bak is the old one, and is never overwritten.
  Nothing is uploaded: the parts must lie in a bucket of the region, too.
  There is no ec2-migrate-bundle (long deprecated): download, migrate, upload.""",
    interrupted="the manifest is as it was",
)


def main() -> None:
    """The program ec2-migrate-manifest."""
    enter(COMMAND)
