"""Rules of the lint about where a bundle lies: its parts, and the bucket that EC2 is to read them from."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from builder.bundles.grants import ec2_may_read
from builder.bundles.observed import Bucket, File, Observed, Target
from builder.formats.bundle_manifest import BundleManifest, Part
from builder.formats.bundle_stream import PART_SIZE

__all__ = ["findings"]

_BLOCK = 16
_KMS = ("aws:kms", "aws:kms:dsse")
_TOLD = {"part-missing", "part-sizes", "part-digest"}

Wrong = tuple[str, str, str]


def findings(manifest: BundleManifest, observed: Observed, target: Target) -> Iterator[Wrong]:
    """(rule, where, what) of everything that is wrong with how a bundle is stored."""
    yield from _numbers(manifest)
    parts = list(_parts(manifest, observed.files)) if observed.files is not None else []
    yield from parts
    if observed.files is not None:
        yield from _strays(manifest, observed.files)
    if observed.bucket is not None:
        yield from _bucket(observed.bucket, observed.where, target)
        yield from _objects(observed.bucket, observed.where, observed.files or {}, manifest)
    if observed.fault:
        # Reading stops at the first fault: at the one that is told already.
        if _TOLD.isdisjoint(each[0] for each in parts):
            yield "contents", observed.where, observed.fault
    elif observed.fault is None and not _known(manifest, observed.files):
        yield "unread", "manifest/image/parts", "the parts were not compared with their digests"
    elif observed.fault == "" and not (observed.opens or observed.opens_for_ec2):
        yield "unopened", "manifest/image/digest", "what is in the parts was not looked at: no key here opens them"


def _numbers(manifest: BundleManifest) -> Iterator[Wrong]:
    """What the manifest alone says of its parts."""
    if manifest.bundled_size == 0 or manifest.bundled_size % _BLOCK:
        yield (
            "bundled-size",
            "manifest/image/bundled_size",
            f"{manifest.bundled_size} bytes are no whole number of AES blocks",
        )
    names = [part.filename for part in manifest.parts]
    if sorted(names) != names:
        first = next(after for before, after in pairwise(names) if after < before)
        yield (
            "part-names",
            "manifest/image/parts",
            f"sorted by name the parts stand in another order: {first} comes too early",
        )


def _parts(manifest: BundleManifest, files: Mapping[str, File]) -> Iterator[Wrong]:
    missing = [part.filename for part in manifest.parts if part.filename not in files]
    if missing:
        yield "part-missing", *_together(missing, "is not there", "are not there")
        return
    sizes = [files[part.filename].size for part in manifest.parts]
    if sum(sizes) != manifest.bundled_size:
        what = f"the parts have {sum(sizes)} bytes together, and bundled_size is {manifest.bundled_size}"
        yield "part-sizes", "manifest/image/bundled_size", what
    elif odd := [part.filename for part, size in zip(manifest.parts[:-1], sizes, strict=False) if size != PART_SIZE]:
        yield "part-cut", *_together(odd, "has not 10 MiB", "have not 10 MiB")
    if len(sizes) > 1 and sizes[-1] == 0:
        yield "part-empty", manifest.parts[-1].filename, "it is empty"
    if other := [part.filename for part in manifest.parts if _differs(part, files[part.filename])]:
        yield "part-digest", *_together(other, "is another file", "are other files")


def _differs(part: Part, file: File) -> bool:
    return bool(file.sha1) and file.sha1 != part.sha1


def _known(manifest: BundleManifest, files: Mapping[str, File] | None) -> bool:
    """Whether the digest of every part that is there is known without reading it."""
    return files is not None and all(files[part.filename].sha1 for part in manifest.parts if part.filename in files)


def _strays(manifest: BundleManifest, files: Mapping[str, File]) -> Iterator[Wrong]:
    """Parts by the name of this bundle that are none of it."""
    named = {part.filename for part in manifest.parts}
    prefixes = {manifest.name, *(name.rpartition(".part.")[0] for name in named)}
    part_of_it = re.compile(f"({'|'.join(map(re.escape, sorted(prefixes)))})\\.part\\.[0-9]+")
    strays = [name for name in sorted(files) if part_of_it.fullmatch(name) and name not in named]
    if strays:
        yield "stale-parts", *_together(strays, "is no part of this bundle", "are no parts of this bundle")


def _bucket(bucket: Bucket, where: str, target: Target) -> Iterator[Wrong]:
    if target.region != "local" and bucket.region != target.region:
        yield "bucket-region", bucket.name, f"the bucket is in {bucket.region}, and the AMI is for {target.region}"
    if "//" in where:
        yield "location", where, "there are two slashes side by side in it"


def _objects(bucket: Bucket, where: str, files: Mapping[str, File], manifest: BundleManifest) -> Iterator[Wrong]:
    """What keeps EC2 from reading the objects, many of them told as one."""
    prefix = where.partition("/")[2].rpartition("/")[0]
    names = [name for name in (where.rpartition("/")[2], *(part.filename for part in manifest.parts)) if name in files]
    found: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(names):
        file = files[name]
        may, why = ec2_may_read(bucket, f"{prefix}/{name}" if prefix else name, file)
        if may is None:
            found.setdefault(("access-unknown", why), []).append(name)
        elif not may:
            found.setdefault(("access", why), []).append(name)
        if file.encryption in _KMS:
            found.setdefault(("encryption", f"S3 encrypts it with a key of KMS ({file.encryption})"), []).append(name)
        if file.archived:
            found.setdefault(("archived", f"it is in the storage class {file.archived}"), []).append(name)
    for (rule, why), members in found.items():
        yield rule, *_together(members, why, why)


def _together(names: list[str], one: str, several: str) -> tuple[str, str]:
    """Where and what, of one file or of many."""
    if len(names) == 1:
        return names[0], one
    return names[0], f"this and {len(names) - 1} more: {several}"
