"""Copies a bundle's parts from one place in S3 to another, inside S3: no byte comes to this machine."""

from builder.bundles import place
from builder.bundles.contract import Progress, no_progress
from builder.bundles.s3_parts import beside, in_parallel, key_of
from builder.bundles.send import ACL
from builder.cloud import buckets, s3
from builder.cloud.s3 import Bucket
from builder.errors import BuilderError, RegionError
from builder.formats.bundle_manifest import BundleManifest, Part


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
    names = {part.filename for part in parsed.parts}
    place.refuse_any(target, prefix, [each for each in place.files_of(parsed.name, here) if each not in names])
    acl = buckets.readable_acl(target, prefix, acl)

    def copied(part: Part) -> tuple[int, int]:
        found = there[part.filename]
        key = key_of(prefix, part.filename)
        if part.filename in here and _holds(target, key, part):
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

    done = sent = 0
    for size, moved in in_parallel(copied, parsed.parts):
        done += size
        sent += moved
        progress(done, parsed.bundled_size)
    return sent


def _holds(bucket: Bucket, key: str, part: Part) -> bool:
    stored = s3.stored(bucket, key)
    return stored is not None and not stored.kms and stored.sha1 == part.sha1
