"""Copies a bundle's parts from one place in S3 to another, inside S3: no byte comes to this machine."""

from collections.abc import Mapping

from builder.bundles import fetch, place
from builder.bundles.contract import Progress, no_progress
from builder.bundles.s3_parts import beside, in_parallel, key_of, let_ec2_read
from builder.bundles.send import ACL
from builder.cloud import buckets, s3
from builder.cloud.s3 import Bucket, Listed
from builder.errors import BuilderError, RegionError
from builder.formats.bundle_manifest import BundleManifest, ManifestError, Part
from builder.formats.manifest_reader import read_manifest


def copy_parts(
    source: Bucket,
    source_prefix: str,
    target: Bucket,
    prefix: str,
    parsed: BundleManifest,
    *,
    acl: str | None = ACL,
    progress: Progress = no_progress,
) -> int:
    """Make `prefix` of the target hold the parts that a manifest names, readable by EC2; the bytes that were copied.

    Killed and run again, it copies what is missing. S3 computes the SHA-1 of every copy, and one that is not what the
    manifest says is removed again and refused. The manifest is not copied: see `send.upload_manifest`, afterwards.
    """
    there, here = beside(source, source_prefix), beside(target, prefix)
    missing = [part.filename for part in parsed.parts if part.filename not in there]
    if missing:
        where = f"s3://{source.name}/{source_prefix}"
        raise BuilderError(f"{where}: {len(missing)} parts are not there", detail="\n".join(missing[:10]))
    present = [part for part in parsed.parts if part.filename in here]
    held = {
        part.filename for part, same in in_parallel(lambda part: (part, _holds(target, prefix, part)), present) if same
    }
    _refuse_another(target, prefix, parsed, here, held)
    acl = buckets.readable_acl(target, prefix, acl)

    def copied(part: Part) -> tuple[int, int]:
        found, key = there[part.filename], key_of(prefix, part.filename)
        if part.filename in held:
            return found.size, 0
        sha1 = s3.copy(source, key_of(source_prefix, part.filename), found.etag, target, key, acl=acl)
        if sha1 != part.sha1:
            s3.delete(target, [key])
            where = f"s3://{source.name}/{key_of(source_prefix, part.filename)}"
            raise RegionError(
                f"{where} is not the part that the manifest speaks of",
                detail=f"The SHA-1 of its copy is {sha1 or 'not told'}; the manifest says {part.sha1}.",
            )
        return found.size, found.size

    let_ec2_read(target, [key_of(prefix, name) for name in held], acl)
    done = sent = 0
    for size, moved in in_parallel(copied, parsed.parts):
        done += size
        sent += moved
        progress(done, parsed.bundled_size)
    return sent


def _refuse_another(
    target: Bucket, prefix: str, parsed: BundleManifest, here: Mapping[str, Listed], held: set[str]
) -> None:
    """RegionError when files of another bundle are in the way: one whose manifest names other parts, or has none."""
    files, manifest = place.files_of(parsed.name, here), place.manifest_of(parsed.name)
    if manifest in files and not _same_parts(fetch.manifest(target, prefix, manifest), parsed):
        place.refuse_manifest(target, prefix, manifest, here)
    names = {part.filename for part in parsed.parts}
    ours = names if manifest in files else held
    place.refuse_any(target, prefix, [each for each in files if each not in ours | {manifest}])


def _same_parts(manifest: bytes, parsed: BundleManifest) -> bool:
    """Whether a manifest is of the same bundle, though its keys may be wrapped for somebody else."""
    try:
        return read_manifest(manifest).parts == parsed.parts
    except ManifestError:
        return False


def _holds(bucket: Bucket, prefix: str, part: Part) -> bool:
    stored = s3.stored(bucket, key_of(prefix, part.filename))
    return stored is not None and not stored.kms and stored.sha1 == part.sha1
