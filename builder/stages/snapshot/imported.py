"""A snapshot by way of S3: the whole image as an object, and ImportSnapshot. For where the EBS direct API is denied."""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from builder.canonical import digest_of
from builder.cloud import buckets, s3, s3_multipart, session
from builder.cloud.ec2 import KEY_TAG
from builder.cloud.s3 import Bucket
from builder.cloud.s3_multipart import Part, part_size
from builder.cloud.snapshot_import import Failed, Import, Task, import_snapshot, wait_imported
from builder.cloud.snapshots import tag_snapshot
from builder.formats.blocks import BLOCK_SIZE
from builder.stages.snapshot.direct import Job, Made
from builder.stages.snapshot.journal import Begun, Journal
from builder.stages.snapshot.lists import keep

_WORKERS = 4
"""Parts on their way at once, of 16 MiB each, or more of an image that is larger than 156 GiB."""
_MEMORY = 64 << 20
"""Bytes of parts in memory."""
_WHY = "the EBS direct API is denied"


def make(job: Job, journal: Journal) -> Made:
    """The snapshot, whole. What was begun is gone on with: parts of the upload that arrived, and the import itself."""
    if journal.begun is None or not (journal.written.upload or journal.written.task):
        _begin(job, journal)
    written = journal.written
    bucket = Bucket(
        client=session.client("s3", job.context.surroundings, job.spec.region),
        name=f"ami-factory-{job.spec.account}-{job.spec.region}",
        account=job.spec.account,
    )
    key = f"snapshots/{job.context.key}.raw"
    sent = kept = 0
    if not written.task:
        sent, kept = _upload(job, journal, bucket, key)
        journal.importing(import_snapshot(job.ec2, _import(job, bucket, key, written.begun)))
    try:
        task = wait_imported(job.ec2, written.task, heard=lambda each: _tell(job, each))
    except Failed:
        s3.delete(bucket, [key])
        journal.finish()  # a token stands for one task: the next run has to begin another
        raise
    tag_snapshot(job.ec2, task.snapshot_id, job.tags(written.begun))
    s3.delete(bucket, [key])
    return Made(snapshot_id=task.snapshot_id, blocks=written.begun.blocks, parent="", full=_WHY, sent=sent, kept=kept)


def _begin(job: Job, journal: Journal) -> None:
    journal.begin(
        Begun(
            key=job.context.key,
            region=job.spec.region,
            account=job.spec.account,
            endpoint=job.spec.endpoint,
            blocks=keep(job.lists, job.blocks),
            full=_WHY,
        )
    )


def _import(job: Job, bucket: Bucket, key: str, begun: Begun) -> Import:
    return Import(
        bucket=bucket.name,
        key=key,
        token=digest_of(["import", begun.key, begun.blocks]),
        description=job.spec.description,
        tags={KEY_TAG: job.context.key, "Name": job.spec.lineage},
        encrypted=job.spec.encrypted,
        kms_key=job.spec.kms_key,
    )


def _upload(job: Job, journal: Journal, bucket: Bucket, key: str) -> tuple[int, int]:
    """Make S3 hold the image; how many blocks of it were sent now, and how many were there."""
    if buckets.ensure_bucket(bucket):
        job.context.note(f"made the bucket {bucket.name} for images of {job.spec.account} in {job.spec.region}")
    size = job.disk.stat().st_size
    begun = journal.written.upload
    there = s3_multipart.parts(bucket, key, begun[2]) if begun else None
    if begun and there is None and _is_whole(bucket, key, size):
        return 0, size // BLOCK_SIZE
    if there is None:
        journal.uploading(bucket.name, key, s3_multipart.begin(bucket, key))
    assert journal.written.upload is not None
    sent = _parts(job, bucket, key, journal.written.upload[2], there or {}, size)
    return sent // BLOCK_SIZE, (size - sent) // BLOCK_SIZE


def _is_whole(bucket: Bucket, key: str, size: int) -> bool:
    """Whether the object was made before this process was, and only its journal did not hear of it."""
    found = s3.stored(bucket, key)
    return found is not None and found.size == size


def _parts(job: Job, bucket: Bucket, key: str, upload: str, there: Mapping[int, Part], size: int) -> int:
    """Send the parts that are not there, and make the object; the bytes that were sent."""
    length = part_size(size)
    etags: dict[int, str] = {}
    sent = done = 0
    with job.disk.open("rb") as disk, ThreadPoolExecutor(max(1, min(_WORKERS, _MEMORY // length)), "part") as pool:

        def put(number: int) -> tuple[int, str, int, int]:
            data = os.pread(disk.fileno(), length, (number - 1) * length)
            found = there.get(number)
            if found is not None and found.etag == hashlib.md5(data, usedforsecurity=False).hexdigest():
                return number, found.etag, len(data), 0
            return number, s3_multipart.put(bucket, key, upload, number, data), len(data), len(data)

        try:
            for number, etag, count, new in pool.map(put, range(1, -(-size // length) + 1)):
                etags[number] = etag
                sent, done = sent + new, done + count
                job.context.progress("upload", done, size)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    s3_multipart.finish(bucket, key, upload, etags)
    return sent


def _tell(job: Job, task: Task) -> None:
    job.context.progress("import", task.percent, 100, "percent")
