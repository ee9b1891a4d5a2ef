"""ec2-unbundle: a bundle back into the image it was made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.classic import bucket, signer
from builder.classic import place as places
from builder.classic.command import Command, Options, enter
from builder.classic.options import COMMON, CREDENTIALS, PLACE, PROGRESS, YES, Option
from builder.cli import output
from builder.cli.meter import Meter

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    from builder.bundles.contract import PartSource

OPTIONS = (
    Option(
        names=("-m", "--manifest"),
        value="PATH",
        help="The bundle's manifest; also s3://BUCKET/PREFIX/NAME.manifest.xml.",
        required=True,
    ),
    Option(
        names=("-k", "--privatekey"),
        value="PATH",
        help="The private key of who made it.",
        variables=("EC2_PRIVATE_KEY",),
    ),
    Option(
        names=("-s", "--source"),
        value="PATH",
        help="Where the parts are. By default here, or else beside the manifest.",
    ),
    Option(
        names=("-d", "--destination"), value="PATH", help="Where to put the image: directory or file. [.]", default="."
    ),
    Option(names=("-c", "--cert"), value="PATH", help="Refuse the bundle unless the owner of this signed it."),
    PROGRESS,
    # -s is the source here, so the credentials have their long names only.
    *(replace(each, names=tuple(name for name in each.names if name.startswith("--"))) for each in CREDENTIALS),
    *PLACE,
    YES,
    *COMMON,
)


def run(options: Options) -> None:
    """Write the image, or nothing; its path goes to stdout."""
    from builder.bundles import read

    key = signer.private_key(signer.own_key(options.privatekey))
    certificate = signer.certificate(Path(options.cert)) if options.cert else None
    with _opened(options, key) as (manifest, source):
        if certificate is None:
            _look_at_signature(manifest, key)
        with Meter("unbundle", wanted=options.progress) as meter:
            image = read.unbundle(
                manifest,
                source,
                key,
                Path(options.destination),
                certificate=certificate,
                force=options.yes,
                progress=meter,
            )
    output.result(f"Unbundled {image}")


@contextmanager
def _opened(options: Options, key: "RSAPrivateKey") -> Iterator[tuple[bytes, "PartSource"]]:
    """The manifest's bytes, and where its parts come from."""
    from builder.bundles import fetch
    from builder.bundles.directory import DirectorySource, read_manifest_file
    from builder.bundles.s3_parts import S3Source
    from builder.formats.manifest_reader import open_manifest, read_manifest

    if bucket.address(options.manifest) is None:
        path = Path(options.manifest)
        data = read_manifest_file(path)
        parts = read_manifest(open_manifest(data, key)).parts
        yield data, DirectorySource(_source(options, path, parts[0].filename))
        return
    target, name = bucket.parse_manifest(options.manifest)
    stored = bucket.bucket(places.find(options, "s3"), target.bucket)
    data = fetch.manifest(stored, target.prefix, name)
    with S3Source(stored, target.prefix, read_manifest(open_manifest(data, key)).parts) as source:
        yield data, source


def _source(options: Options, manifest: Path, first: str) -> Path:
    if options.source:
        return Path(options.source)
    return Path() if Path(first).exists() else manifest.parent


def _look_at_signature(manifest: bytes, key: "RSAPrivateKey") -> None:
    """A bundle is signed by the user whose key opens it. Where it is not, somebody made or changed it since."""
    from builder.formats.manifest_reader import open_manifest, verify_signature

    public: RSAPublicKey = key.public_key()
    if not verify_signature(open_manifest(manifest, key), public):
        output.warn("the manifest is not signed by the owner of this key: its parts are as it says, whoever wrote it")


COMMAND = Command(
    name="ec2-unbundle",
    summary="Turn a bundle back into the image, every digest checked; the image appears whole or not at all.",
    options=OPTIONS,
    run=run,
    examples="""\
ec2-unbundle -m bundles/disk.img.manifest.xml -k $EC2_PRIVATE_KEY -s bundles -d images
ec2-unbundle -m s3://my-bucket/web/disk.img.manifest.xml -k $EC2_PRIVATE_KEY -d disk.img --region us-east-1""",
    manual="""\
details:
  The image's name is the manifest's, and can be nothing but a name; what the archive inside says is
  not looked at. Holes come back as holes. An image that is there already is replaced with -y only.
  From s3:// the parts are read as they come, and none is kept here.""",
    interrupted="no part of the image is left: run it again",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
