"""Removes exactly one bundle from S3: its manifest and its parts, never a neighbour."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.bundles import fetch, place
from builder.bundles.s3_parts import beside, key_of
from builder.cloud import s3
from builder.cloud.s3 import Bucket, Listed
from builder.formats.manifest_reader import open_manifest, read_manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was removed, or would be."""

    keys: tuple[str, ...]
    """In the order of removal."""
    bytes: int


def delete_bundle(
    bucket: Bucket,
    prefix: str,
    manifest_name: str,
    *,
    manifest: bytes | None = None,
    private_key: "RSAPrivateKey | None" = None,
    dry_run: bool = False,
) -> Removed:
    """Remove the bundle whose manifest has that name below `prefix`; with `dry_run` only say what that is.

    A manifest, given or else the one in S3, names the parts. Where there is none (an upload that never ended, a removal
    that did not) they are those that the manifest's name stands for: NAME.part.N for NAME.manifest.xml. A bundle that
    is not there is removed already.

    The manifest goes first, since nothing can be registered then. Only where its parts could not be found again by
    their names it goes last, so that a removal that was killed can be run again.
    """
    found = beside(bucket, prefix)
    if manifest is None and manifest_name in found:
        manifest = fetch.manifest(bucket, prefix, manifest_name)
    if manifest is not None and private_key is not None:
        manifest = open_manifest(manifest, private_key)
    names = _in_order(manifest_name, manifest, found)
    keys = tuple(key_of(prefix, name) for name in names)
    if not dry_run:
        s3.delete(bucket, keys)
    return Removed(keys=keys, bytes=sum(found[name].size for name in names))


def delete_named(bucket: Bucket, prefix: str, name: str, *, dry_run: bool = False) -> Removed:
    """Remove the files of the bundle NAME by their names alone, whatever its manifest says."""
    found = beside(bucket, prefix)
    names = place.files_of(name, found)
    keys = tuple(key_of(prefix, each) for each in names)
    if not dry_run:
        s3.delete(bucket, keys)
    return Removed(keys=keys, bytes=sum(found[each].size for each in names))


def _in_order(manifest_name: str, manifest: bytes | None, found: Mapping[str, Listed]) -> tuple[str, ...]:
    """The bundle's files that are there."""
    stem = place.stem_of(manifest_name)
    if manifest is None:
        return place.files_of(stem, found)
    parts = tuple(part.filename for part in read_manifest(manifest).parts if part.filename in found)
    own = (manifest_name,) if manifest_name in found else ()
    again = set(place.files_of(stem, parts)) == set(parts)
    return (*own, *parts) if again else (*parts, *own)
