"""What EC2 does with a bundle when it is registered: fetch the manifest from S3 and refuse what it could not start.

`InvalidManifest` is EC2's one code for all of it; the messages for what EC2 is known to say are its own.
"""

import json
from base64 import b64decode
from dataclasses import dataclass
from typing import NoReturn

from builder.errors import BuilderError
from builder.formats.bundle_cipher import unwrap_pair
from builder.formats.bundle_manifest import SIZE_LIMIT, BundleManifest, ManifestError
from builder.formats.manifest_grammar import REFUSALS
from builder.formats.manifest_reader import objections, read_manifest
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.s3 import access, settings
from builder.region.s3.objects import open_pieces
from builder.region.state import Row, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that an instance could be started from."""

    location: str
    manifest: BundleManifest
    text: bytes
    """The manifest as it was when registered; a later change in S3 has no effect on what was read."""


def fetch_bundle(region: Region, location: str) -> Bundle:
    """Read and check the bundle that an ImageLocation (`bucket/key`) names."""
    bucket, _, prefix = location.removeprefix("/").partition("/")
    if not bucket or not prefix:
        raise ServiceError(
            "InvalidParameterValue", f"Value ({location}) for parameter imageLocation is invalid: it is not bucket/key"
        )
    text = _read(region, bucket, prefix)
    manifest = _take(text)
    if manifest.account != region.account:
        _refuse(f"Invalid AMI manifest: it belongs to user {manifest.account}, and {region.account} registers it")
    _check_keys(region, manifest)
    _check_parts(region, manifest, bucket, prefix.rpartition("/")[0])
    return Bundle(location=f"{bucket}/{prefix}", manifest=manifest, text=text)


def _refuse(message: str) -> NoReturn:
    raise ServiceError("InvalidManifest", message)


def find_object(state: State, bucket: str, key: str) -> Row:
    """An object that EC2 may read. S3 tells who may not list a bucket nothing of what it lacks: 403, not 404."""
    address = f"http://s3.amazonaws.com:80/{bucket}/{key}"
    place = state.row("SELECT * FROM buckets WHERE name = ?", (bucket,))
    if place is None:
        _refuse(f"HTTP 404 (Not Found) response for URL {address}: there is no such bucket.")
    row = state.row("SELECT * FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
    if row is None and access.ec2_may("READ", place["acl"], place):
        _refuse(f"HTTP 404 (Not Found) response for URL {address}")
    if row is None:
        _refuse(f"HTTP 403 (Forbidden) response for URL {address}: check your S3 ACLs are correct. (No such object.)")
    if not settings.ec2_may_read(state, place, row):
        _refuse(f"HTTP 403 (Forbidden) response for URL {address}: check your S3 ACLs are correct.")
    return row


def _read(region: Region, bucket: str, key: str) -> bytes:
    row = find_object(region.state, bucket, key)
    if row["size"] > SIZE_LIMIT:
        _refuse(f"Invalid AMI manifest: {row['size']} bytes are more than the {SIZE_LIMIT} that are read")
    try:
        opened = open_pieces(region.state, row["id"], 0, row["size"])
    except FileNotFoundError:
        # Overwritten since the record was read.
        return _read(region, bucket, key)
    content = b""
    for file, _, _ in opened:
        with file:
            content += file.read()
    return content


def _take(text: bytes) -> BundleManifest:
    """The manifest, when it can be read and there is nothing in it that EC2 refuses."""
    try:
        manifest, found = read_manifest(text), objections(text)
    except ManifestError as error:
        _refuse(f"Invalid AMI manifest: {error.brief.removeprefix('bundle manifest: ')}")
    if not found:
        return manifest
    first = found[0]
    if (first.code, first.where) == ("empty", "manifest/signature"):
        raise ServiceError("InternalError", "An internal error has occurred")  # as EC2 answers it, with HTTP 500
    _refuse(f"{REFUSALS[first.code].message}: {first.why} ({first.where})")


def _check_keys(region: Region, manifest: BundleManifest) -> None:
    """The session key and IV must have been wrapped for this region's certificate. EC2 finds out only at launch."""
    try:
        unwrap_pair(manifest.ec2_encrypted_key, manifest.ec2_encrypted_iv, region.private_key)
    except BuilderError:
        _refuse(
            "Invalid AMI manifest: ec2_encrypted_key and ec2_encrypted_iv were not made for this region's EC2 "
            f"certificate (SHA-256 fingerprint {region.identity.fingerprint})"
        )


def _check_parts(region: Region, manifest: BundleManifest, bucket: str, prefix: str) -> None:
    """Every part there, readable by EC2, and together of the size that the manifest says.

    The manifest's SHA-1 is compared where the part was uploaded with one; EC2 reads the bytes at launch only.
    """
    total = 0
    for part in manifest.parts:
        row = find_object(region.state, bucket, f"{prefix}/{part.filename}" if prefix else part.filename)
        total += row["size"]
        stored = json.loads(row["checksums"])
        if "SHA1" in stored and stored["type"] == "FULL_OBJECT" and b64decode(stored["SHA1"]).hex() != part.sha1:
            _refuse(f"Invalid AMI manifest: the digest of {part.filename} is not that of the object in S3")
    if total != manifest.bundled_size:
        _refuse(f"Invalid AMI manifest: the parts have {total} bytes, and bundled_size is {manifest.bundled_size}")
