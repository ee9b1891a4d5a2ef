"""Gathers what the lint of a bundle judges: from a directory, or from S3 without taking the parts out of it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.bundles import read
from builder.bundles.contract import PartSource, Progress, no_progress
from builder.bundles.directory import DirectorySource
from builder.bundles.fetch import manifest_names
from builder.bundles.observed import Bucket, File, KernelImage, Observed, Target
from builder.bundles.s3_parts import S3Source, beside, key_of
from builder.cloud import ec2, s3, s3_look
from builder.cloud.errors import Client
from builder.errors import BuilderError, RecipeError, RegionError
from builder.formats import bundle_cipher, manifest_reader
from builder.formats.bundle_manifest import SIZE_LIMIT, BundleManifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

__all__ = ["SUFFIXES", "Means", "observe_bucket", "observe_directory"]

SUFFIXES = (".manifest.xml", ".manifest")
"""What manifests are called; those that are encrypted have the short one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What there is to try on a bundle, and how thoroughly."""

    certificate: "RSAPublicKey | None" = None
    """The user's: did it sign?"""
    private_key: "RSAPrivateKey | None" = field(default=None, repr=False)
    """The user's: does it open?"""
    ec2_key: "RSAPrivateKey | None" = field(default=None, repr=False)
    """The region's own, which only the local region gives."""
    deep: bool = False
    """Read every byte of every part."""
    progress: Progress = no_progress


def observe_directory(path: Path, means: Means) -> Observed:
    """A bundle on this machine by its manifest; RecipeError when the file cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
        files = {each.name: File(size=each.stat().st_size) for each in path.parent.iterdir() if each.is_file()}
    except OSError as error:
        raise RecipeError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    files.pop(path.name, None)
    plain, encrypted = _opened(data, means)
    manifest = _read(plain)
    tried = _tried(plain, manifest, means)
    return Observed(
        where=str(path),
        manifest=plain,
        encrypted=encrypted,
        files=files,
        fault=_fault(plain, DirectorySource(path.parent), tried, means) if means.deep and manifest else None,
        **tried,
    )


def observe_bucket(bucket: s3.Bucket, key: str, images: Client, target: Target, means: Means) -> Observed:
    """A bundle in S3 by its manifest's key, or by a prefix that has one; `images` is a client of EC2.

    RegionError when nothing is there.
    """
    key = _manifest_key(bucket, key)
    plain, encrypted = _opened(s3.read_small(bucket, key, SIZE_LIMIT), means)
    manifest = _read(plain)
    prefix, _, name = key.rpartition("/")
    parts = manifest.parts if manifest else ()
    kernel = manifest.kernel_id if manifest else ""
    tried = _tried(plain, manifest, means)
    fault = None
    if means.deep and manifest:
        with S3Source(bucket, prefix, parts) as source:
            fault = _fault(plain, source, tried, means)
    return Observed(
        where=f"{bucket.name}/{key}",
        manifest=plain,
        encrypted=encrypted,
        files=_stored(bucket, prefix, (name, *(part.filename for part in parts))),
        bucket=_bucket(bucket),
        fault=fault,
        **_asked(images, kernel, target),
        **tried,
    )


def _manifest_key(bucket: s3.Bucket, key: str) -> str:
    """The key itself, or that of the one manifest below it. RecipeError when there are several."""
    prefix = key.rstrip("/")
    if key.endswith(SUFFIXES):
        return key
    names = manifest_names(bucket, prefix)
    if len(names) > 1:
        raise RecipeError(
            f"s3://{bucket.name}/{prefix} holds {len(names)} manifests",
            detail="\n".join(names[:10]),
            hint="name the manifest itself",
        )
    return key_of(prefix, names[0]) if names else key


def _opened(data: bytes, means: Means) -> tuple[bytes, bool]:
    """The manifest's text, and whether it was encrypted; one that stays shut is judged as it is."""
    encrypted = manifest_reader.is_encrypted(data)
    if encrypted and means.private_key is not None:
        with suppress(BuilderError):
            data = manifest_reader.open_manifest(data, means.private_key)
    return data, encrypted


def _read(data: bytes) -> BundleManifest | None:
    try:
        return manifest_reader.read_manifest(data)
    except BuilderError:
        return None  # the lint says why


def _tried(data: bytes, manifest: BundleManifest | None, means: Means) -> dict[str, Any]:
    """What the keys tell: members of Observed."""
    tried: dict[str, Any] = {}
    if manifest is None:
        return tried
    if means.certificate is not None and manifest.signature:
        tried["signed"] = manifest_reader.verify_signature(data, means.certificate)
    if means.private_key is not None:
        tried["opens"] = _opens(manifest.user_encrypted_key, manifest.user_encrypted_iv, means.private_key)
    if means.ec2_key is not None:
        tried["opens_for_ec2"] = _opens(manifest.ec2_encrypted_key, manifest.ec2_encrypted_iv, means.ec2_key)
    return tried


def _opens(key: str, iv: str, private_key: "RSAPrivateKey") -> bool:
    try:
        bundle_cipher.unwrap_pair(key, iv, private_key)
    except BuilderError:
        return False
    return True


def _fault(data: bytes, source: PartSource, tried: dict[str, Any], means: Means) -> str:
    """What reading every part finds first; with a key that opens it, what is inside too."""
    key = means.private_key if tried.get("opens") else means.ec2_key if tried.get("opens_for_ec2") else None
    try:
        read.check(data, source, key, progress=means.progress)
    except RegionError:
        raise  # trouble on the way is no finding
    except BuilderError as error:
        return error.brief
    return ""


def _stored(bucket: s3.Bucket, prefix: str, names: tuple[str, ...]) -> dict[str, File]:
    """The objects of the bundle, and what else lies directly below its prefix where that may be listed."""
    try:
        listed: Mapping[str, s3.Listed] = beside(bucket, prefix)
    except RegionError:  # no right to list: what is of the bundle is asked for one by one
        listed = {}
    keys = {key_of(prefix, name): name for name in names if name in listed or not listed}
    found = {name: File(size=each.size) for name, each in listed.items()}
    for each in s3_look.look_at_objects(bucket, keys):
        found[keys[each.key]] = File(
            size=each.size, sha1=each.sha1, encryption=each.encryption, archived=each.archived, grants=each.grants
        )
    return found


def _bucket(bucket: s3.Bucket) -> Bucket:
    facts = s3_look.look_at_bucket(bucket)
    return Bucket(
        name=bucket.name,
        region=facts.region,
        partition=facts.partition,
        ownership=facts.ownership,
        ignores_public=facts.ignores_public,
        restricts_public=facts.restricts_public,
        policy=facts.policy,
    )


def _asked(images: Client, kernel: str, target: Target) -> dict[str, Any]:
    """What the region says of the kernel; nothing where it may not be asked."""
    if not kernel:
        return {}
    try:
        architecture = ec2.kernel_architecture(images, kernel)
    except RegionError:
        return {}
    found = KernelImage(id=kernel, region=target.region, architecture=architecture) if architecture else None
    return {"kernel": found, "kernel_asked": True}
