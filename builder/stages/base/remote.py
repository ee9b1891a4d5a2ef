"""What has to be brought here first: the image of a bundle, on disk or in S3, and the volume of a snapshot."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import BuilderError, RecipeError, RegionError
from builder.stages.contract import StageContext

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from builder.cloud.s3 import Bucket

S3 = "s3://"


def manifest(location: str, region: str, context: StageContext) -> bytes:
    """The bytes of a bundle's manifest."""
    if location.startswith(S3):
        from builder.bundles import fetch

        bucket, prefix, name = _address(location, region, context)
        return fetch.manifest(bucket, prefix, name)
    from builder.bundles.directory import read_manifest_file

    return read_manifest_file(Path(location))


def image_of_bundle(location: str, region: str, pin: str, context: StageContext) -> Path:
    """The decrypted image of a bundle whose manifest is `pin`. BuilderError unless every byte is as it says."""
    from builder.bundles.directory import DirectorySource
    from builder.bundles.read import unbundle
    from builder.bundles.s3_parts import S3Source
    from builder.formats.manifest_reader import open_manifest, read_manifest

    data = manifest(location, region, context)
    found = hashlib.sha256(data).hexdigest()
    if found != pin:
        raise changed(location, found, pin)
    key = _private_key(context)
    target = context.scratch / "bundle.raw"

    def progress(done: int, total: int) -> None:
        context.progress("unbundle", done, total)

    if not location.startswith(S3):
        return unbundle(data, DirectorySource(Path(location).parent), key, target, progress=progress)
    bucket, prefix, _ = _address(location, region, context)
    parts = read_manifest(open_manifest(data, key)).parts
    with S3Source(bucket, prefix, parts) as source:
        return unbundle(data, source, key, target, progress=progress)


def volume_of_snapshot(snapshot: str, region: str, context: StageContext) -> Path:
    """A snapshot's volume as a sparse file, by the EBS direct API."""
    from builder.cloud.ebs import Direct
    from builder.cloud.ebs_download import download
    from builder.cloud.session import client

    target = context.scratch / "volume.raw"
    direct = Direct(lambda: client("ebs", context.surroundings, region))
    download(direct, snapshot, target, progress=lambda done, total: context.progress("download", done, total))
    return target


def of_ami(image: str, region: str, context: StageContext) -> tuple[str, str]:
    """("bundle", location of its manifest in S3), or ("snapshot", id of its root's). RegionError if there is none."""
    from builder.cloud.amis import ami
    from builder.cloud.session import client
    from builder.cloud.snapshots import root_snapshot

    ec2 = client("ec2", context.surroundings, region)
    found = ami(ec2, region, image)
    if found is None:
        raise RegionError(f"there is no AMI {image} in {region}", hint="look at base.image and --region")
    if found.snapshots:
        return "snapshot", root_snapshot(ec2, image)
    return "bundle", f"{S3}{found.location.removeprefix('/')}"


def changed(location: str, found: str, pin: str) -> BuilderError:
    return BuilderError(
        f"{location} is not what the lock says",
        detail=f"locked: sha256:{pin}\nfound:  sha256:{found}",
        hint="put the locked image back, or take the new one: ami-factory lock --update RECIPE",
    )


def _address(location: str, region: str, context: StageContext) -> "tuple[Bucket, str, str]":
    """The bucket, the prefix and the manifest's name of `s3://BUCKET/PREFIX/NAME`."""
    from builder.cloud.s3 import Bucket
    from builder.cloud.session import client

    bucket, _, key = location.removeprefix(S3).partition("/")
    prefix, _, name = key.rpartition("/")
    if not bucket or not name:
        raise RecipeError(f"{location} names no manifest", hint="write s3://BUCKET/PREFIX/NAME.manifest.xml")
    return Bucket(client=client("s3", context.surroundings, region), name=bucket), prefix, name


def _private_key(context: StageContext) -> "RSAPrivateKey":
    from builder.formats.bundle_cipher import load_private_key

    path = context.surroundings.secrets.get("private_key")
    if path is None:
        raise BuilderError(
            "no private key is known to open the bundle with", hint="set EC2_PRIVATE_KEY, or private_key in [bundle]"
        )
    try:
        return load_private_key(Path(path).read_bytes(), f"the private key {path}")
    except OSError as error:
        raise BuilderError(f"the private key {path} cannot be read: {error.strerror}") from error
