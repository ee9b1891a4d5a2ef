"""Puts a bundle into S3: what is missing, several parts at once, and the manifest last.

Where a manifest is, the bundle is whole; two bundles are never mixed.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.bundles import place
from builder.bundles.contract import Description, Keys, Progress, no_progress
from builder.bundles.directory import read_manifest_file
from builder.bundles.s3_parts import (
    MANIFEST_TYPE,
    PART_TYPE,
    S3Sink,
    below,
    beside,
    in_parallel,
    key_of,
    let_ec2_read,
    store,
)
from builder.cloud import buckets, s3
from builder.cloud.body import Body
from builder.cloud.s3 import Bucket, Listed
from builder.errors import BuilderError
from builder.formats.bundle_manifest import BundleManifest
from builder.formats.manifest_reader import read_manifest

if TYPE_CHECKING:
    from builder.bundles.image import Image
    from builder.formats.gzip_stream import Level

ACL = "aws-exec-read"
"""The canned access list that lets EC2 read a bundle, and nobody else."""
IN_MEMORY = 16 * 1024 * 1024
"""Parts up to here are sent from memory; they have 10 MiB, unless another tool was told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A bundle that is whole in S3."""

    location: str
    """`bucket/key` of the manifest, as RegisterImage wants it."""
    manifest: str
    """Key of the manifest."""
    sent: int
    """Bytes."""
    kept: int
    """Bytes that were there already."""


class Found(Enum):
    """What S3 has under a key of the bundle."""

    NOT = "nothing"
    SAME = "the bundle's own file"
    KMS = "the bundle's own file, encrypted so that EC2 cannot read it"
    OTHER = "another file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file of the bundle, and where it goes."""

    path: Path
    key: str
    size: int
    sha1: str
    content_type: str = PART_TYPE


def upload(
    manifest: Path,
    bucket: Bucket,
    prefix: str,
    *,
    acl: str | None = ACL,
    directory: Path | None = None,
    first: int = 0,
    with_manifest: bool = True,
    own_prefix: bool = False,
    progress: Progress = no_progress,
) -> Sent:
    """Make S3 hold the whole bundle whose manifest and parts are files. Killed and run again, it sends what is missing.

    BuilderError before anything is sent when the parts are not of the sizes that the manifest says, and for a part
    whose digest is another one. RegionError when another bundle is in the way, or EC2 could not read this one.

    `directory` has the parts when they are not beside the manifest. `acl` None: a policy of the bucket lets EC2 read.
    Parts before index `first` are left alone, and so is the manifest unless `with_manifest`. With `own_prefix` nothing
    else may lie below `prefix`, and what has a part's name is that part, perhaps damaged, and is sent again.
    """
    parsed, items, last = _items(manifest, directory or manifest.parent, prefix)
    start = below(prefix)
    present = {key.removeprefix(start): each for key, each in s3.listed(bucket, start, deep=own_prefix).items()}
    whole = _compare(bucket, last, present)
    if whole is Found.OTHER:
        place.refuse_manifest(bucket, prefix, last.path.name, present)
    _refuse_strangers(bucket, prefix, last.path.name, parsed, present, all_of=own_prefix)
    compared = dict(in_parallel(lambda each: (each.key, _compare(bucket, each, present)), items[first:]))
    if not (own_prefix or whole is Found.SAME):
        others = [each.path.name for each in items if compared.get(each.key) is Found.OTHER]
        place.refuse_any(bucket, prefix, others)
    wanted = [each for each in items[first:] if compared[each.key] is not Found.SAME]
    closing = with_manifest and (whole is not Found.SAME or bool(wanted))
    acl = buckets.readable_acl(bucket, prefix, acl, storing=bool(wanted) or closing)
    total = sum(each.size for each in (*items, last))
    sent = sum(each.size for each in wanted) + last.size * closing
    done = total - sent
    progress(done, total)

    stopped = threading.Event()

    def send(item: Item) -> int:
        return _put(bucket, prefix, item, acl, new=item.path.name not in present, stopped=stopped)

    for size in in_parallel(send, wanted, stopped):
        done += size
        progress(done, total)
    kept = [key for key, found in compared.items() if found is Found.SAME]
    let_ec2_read(bucket, kept if closing or whole is Found.NOT else [*kept, last.key], acl)
    if closing:
        send(last)
        progress(total, total)
    return Sent(location=f"{bucket.name}/{last.key}", manifest=last.key, sent=sent, kept=total - sent)


def bundle_to_s3(
    image: "Image",
    description: Description,
    keys: Keys,
    bucket: Bucket,
    prefix: str,
    *,
    acl: str | None = ACL,
    level: "Level" = "fast",
    workers: int | None = None,
    progress: Progress = no_progress,
    note: Callable[[str], None] = lambda text: None,
) -> Sent:
    """Bundle an image straight into S3: parts are sent while later ones are made, and none touches the disk.

    When it fails, or is interrupted, what was sent is removed, and `note` says so.
    """
    from builder.bundles import write

    write.check(description)
    place.refuse_any(bucket, prefix, place.files_of(description.name, beside(bucket, prefix)))
    acl = buckets.readable_acl(bucket, prefix, acl)
    names = write.stream_names(description.name, image.size)
    with S3Sink(bucket, prefix, names, acl, note=note) as sink:
        made = write.bundle(
            image,
            description,
            keys,
            sink,
            level=level,
            names=names,
            workers=workers,
            progress=progress,
            stop=sink.stop,
        )
        key = sink.keep(made.manifest_name, made.manifest)
    sent = made.sealed.length + len(made.manifest)
    return Sent(location=f"{bucket.name}/{key}", manifest=key, sent=sent, kept=0)


def _items(manifest: Path, directory: Path, prefix: str) -> tuple[BundleManifest, list[Item], Item]:
    """The parts as the manifest names them, and the manifest. BuilderError for what is not there or not whole."""
    data = read_manifest_file(manifest)
    parsed = read_manifest(data)
    items = []
    for part in parsed.parts:
        path = directory / part.filename
        if not path.is_file():
            raise BuilderError(
                f"the part {path} is not there", hint="make the bundle again, or say where its parts are"
            )
        key = key_of(prefix, part.filename)
        items.append(Item(path=path, key=key, size=path.stat().st_size, sha1=part.sha1))
    size = sum(each.size for each in items)
    if size != parsed.bundled_size:
        raise BuilderError(
            f"the parts in {directory} have {size} bytes, and the manifest {manifest.name} says {parsed.bundled_size}",
            hint="they are not one bundle, or a part is damaged: make the bundle again",
        )
    key = key_of(prefix, manifest.name)
    last = Item(path=manifest, key=key, size=len(data), sha1=_sha1(data), content_type=MANIFEST_TYPE)
    return parsed, items, last


def _refuse_strangers(
    bucket: Bucket,
    prefix: str,
    manifest_name: str,
    parsed: BundleManifest,
    present: Mapping[str, Listed],
    *,
    all_of: bool,
) -> None:
    """RegionError for what is in the way by its name alone: any other file, or files of a bundle of this name."""
    ours = {manifest_name, *(each.filename for each in parsed.parts)}
    stems = {place.stem_of(manifest_name), *(each.filename.rpartition(".part.")[0] for each in parsed.parts)}
    others = set(present) if all_of else {each for stem in stems for each in place.files_of(stem, present)}
    place.refuse_any(bucket, prefix, sorted(others - ours))


def _compare(bucket: Bucket, item: Item, present: Mapping[str, Listed]) -> Found:
    """What S3 has under the item's key.

    The SHA-1 that S3 keeps decides. Where it keeps none (another tool sent it) the MD5 does, of a file that is what
    the manifest says.
    """
    listed = present.get(item.path.name)
    there = s3.stored(bucket, item.key) if listed is not None and listed.size == item.size else None
    if there is None:
        return Found.NOT if listed is None else Found.OTHER
    if there.sha1 != item.sha1 and (there.sha1 or not there.md5):
        return Found.OTHER
    if not there.sha1:
        _check(item, _digest(item.path, "sha1"))
        if _digest(item.path, "md5") != there.md5:
            return Found.OTHER
    return Found.KMS if there.kms else Found.SAME


def _put(bucket: Bucket, prefix: str, item: Item, acl: str | None, *, new: bool, stopped: threading.Event) -> int:
    """Send a file that is what the manifest says; its size."""
    said: dict[str, Any] = {"sha1": item.sha1, "acl": acl, "content_type": item.content_type, "new": new}
    if item.size > IN_MEMORY:
        _check(item, _digest(item.path, "sha1"))
        with item.path.open("rb") as body:
            store(bucket, prefix, item.key, body, **said)
    else:
        data = item.path.read_bytes()
        _check(item, _sha1(data))
        store(bucket, prefix, item.key, Body(data, stopped.is_set), **said)
    return item.size


def _check(item: Item, sha1: str) -> None:
    if sha1 != item.sha1:
        raise BuilderError(
            f"{item.path} is not the part that the manifest speaks of",
            detail=f"Its SHA-1 is {sha1}; the manifest says {item.sha1}.",
            hint="it is damaged, or of another bundle: make the bundle again",
        )


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
