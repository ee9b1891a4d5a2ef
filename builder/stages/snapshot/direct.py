"""A snapshot by the EBS direct API: what its parent has not is sent, and what was sent is never sent twice."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import digest_of
from builder.cloud.ebs import Begin, Denied, Direct
from builder.cloud.ec2 import KEY_TAG
from builder.cloud.errors import Client, refused_with
from builder.cloud.snapshots import (
    BLOCKS_TAG,
    ENCRYPTION_TAG,
    LINEAGE_TAG,
    PARENT_TAG,
    Snapshot,
    delete_snapshot,
    failed,
    snapshot,
    wait_completed,
)
from builder.errors import RegionError
from builder.formats.blocks import BLOCK_SIZE, ZERO, BlockList
from builder.stages.contract import StageContext
from builder.stages.snapshot.journal import Begun, Journal
from builder.stages.snapshot.lists import ZEROS, Parts, child_of, differing, find, keep, lengthened
from builder.stages.snapshot.parent import Parent, encryption, find_parent
from builder.stages.snapshot.spec import SnapshotSpec

_LOOKS = 8
"""How often a snapshot that the journal knows is looked for, 2 s apart: EC2's reads lag behind its writes."""
_LAG = 2.0
_DOUBT = 60.0
"""Seconds that a snapshot may take to be completed whose CompleteSnapshot was refused."""
_TOLD = 0.1
"""Seconds between two words on how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image on its way to a snapshot."""

    spec: SnapshotSpec
    context: StageContext
    disk: Path
    blocks: BlockList
    """Of the image, as long as the volume."""
    size: int
    """GiB"""
    ec2: Client
    lists: Path

    def tags(self, begun: Begun) -> dict[str, str]:
        return {
            "Name": self.spec.lineage,
            **dict(self.spec.tags),
            KEY_TAG: self.context.key,
            LINEAGE_TAG: self.spec.lineage,
            BLOCKS_TAG: begun.blocks,
            PARENT_TAG: begun.parent,
            ENCRYPTION_TAG: encryption(self.spec),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A snapshot with all its blocks, sealed; perhaps not completed yet."""

    snapshot_id: str
    blocks: str
    parent: str
    full: str
    sent: int
    kept: int


def make(job: Job, direct: Direct, journal: Journal, gone_wrong: Sequence[Snapshot]) -> Made:
    """The snapshot of this job, sealed. Goes on with what the journal knows, where that is still to be had.

    `gone_wrong` are snapshots of this key in the state error: another one is made in their place, and they are removed.
    """
    parts = _resumed(job, journal) or _anew(job, direct, journal, [each.id for each in gone_wrong])
    if not journal.written.snapshot_id:
        parts = _started(job, direct, journal, parts)
    written = journal.written
    left = parts.without(written.acknowledged.has)
    try:
        _send(job, direct, journal, left, len(parts))
        direct.complete(written.snapshot_id, len(parts), (digest for _, digest in parts))
    except Denied:
        raise
    except RegionError as error:
        _see(job, written.snapshot_id, error)
    for each in written.begun.replaces:
        delete_snapshot(job.ec2, each)
    return Made(
        snapshot_id=written.snapshot_id,
        blocks=written.begun.blocks,
        parent=written.begun.parent,
        full=written.begun.full,
        sent=len(left),
        kept=len(parts) - len(left),
    )


def _resumed(job: Job, journal: Journal) -> Parts | None:
    """What the journal's snapshot needs in all; None when there is none to go on with."""
    if journal.begun is None:
        return None
    begun = journal.begun
    child = find(job.lists, begun.blocks)
    parent = find(job.lists, begun.parent_blocks) if begun.parent else BlockList()
    if child is None or parent is None or not _holds(child, job.blocks):
        job.context.note("the image is another one than that of the upload that was begun: it is begun anew")
        return None
    if journal.written.snapshot_id and not _is_open(job, journal.written.snapshot_id):
        return None
    return differing(lengthened(parent, job.size), child)


def _is_open(job: Job, snapshot_id: str) -> bool:
    """Whether a snapshot that was begun can still be gone on with; says so when it cannot."""
    for _ in range(_LOOKS):
        found = snapshot(job.ec2, snapshot_id)
        if found is not None:
            break
        time.sleep(_LAG)
    else:
        job.context.note(f"{snapshot_id}, which was begun, is not there any more: another one is begun")
        return False
    if found.state == "error":
        reason = found.reason or "EC2 gives no reason"
        job.context.note(f"{snapshot_id}, which was begun, went to the state error ({reason}): another one is begun")
        return False
    return True


def _anew(job: Job, direct: Direct, journal: Journal, gone_wrong: Sequence[str]) -> Parts:
    """Choose the parent, and write down what is begun."""
    begun = journal.begun
    before = (*begun.replaces, journal.written.snapshot_id) if begun else ()
    replaces = tuple(dict.fromkeys(each for each in (*before, *gone_wrong) if each))
    parent = find_parent(job.spec, job.size, ec2=job.ec2, direct=direct, lists=job.lists)
    return _begin(job, journal, parent, replaces)


def _begin(job: Job, journal: Journal, parent: Parent, replaces: tuple[str, ...]) -> Parts:
    child = child_of(parent.blocks, job.blocks)
    journal.begin(
        Begun(
            key=job.context.key,
            region=job.spec.region,
            account=job.spec.account,
            endpoint=job.spec.endpoint,
            blocks=keep(job.lists, child),
            parent=parent.id,
            parent_blocks=parent.digest,
            full=parent.why,
            replaces=replaces,
        )
    )
    if not parent.id:
        job.context.note(f"all of the image is sent: {parent.why}")
    return differing(parent.blocks, child)


def _started(job: Job, direct: Direct, journal: Journal, parts: Parts) -> Parts:
    """StartSnapshot for what the journal says is begun. A parent that the region does not take is done without."""
    begun = journal.written.begun
    try:
        journal.started(direct.start(request(job, begun)))
    except RegionError as error:
        if not begun.parent or not _is_refusal(error):
            raise
        why = f"the region does not take {begun.parent} as a parent: {error.detail or error.brief}"
        none = Parent(blocks=lengthened(BlockList(), job.size), why=why)
        parts = _begin(job, journal, none, begun.replaces)
        journal.started(direct.start(request(job, journal.written.begun)))
    return parts


def request(job: Job, begun: Begun) -> Begin:
    """The StartSnapshot request. Its token makes it the same one whoever asks again, and another one where something
    that went wrong is replaced. Pure."""
    made_of = [begun.key, begun.blocks, begun.parent, *begun.replaces]
    tags = job.tags(begun)
    return Begin(
        volume_size=job.size,
        token=digest_of(made_of),  # 64 characters, the most that there may be
        description=job.spec.description,
        tags=tuple(sorted(tags.items())),
        parent=begun.parent,
        encrypted=job.spec.encrypted,
        kms_key=job.spec.kms_key,
    )


def _send(job: Job, direct: Direct, journal: Journal, left: Parts, total: int) -> None:
    done, told = total - len(left), 0.0

    def tell() -> None:
        job.context.progress("snapshot", done * BLOCK_SIZE, total * BLOCK_SIZE)

    def received(index: int, digest: str) -> None:
        nonlocal done, told
        journal.acknowledge(index, digest)
        done += 1
        if (now := time.monotonic()) - told >= _TOLD:
            told = now
            tell()

    tell()
    with _reader(job.disk) as read:
        direct.put(journal.written.snapshot_id, left, read, received, fresh=True)
    tell()


@contextmanager
def _reader(disk: Path) -> Iterator[Callable[[int], bytes]]:
    descriptor = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield lambda index: os.pread(descriptor, BLOCK_SIZE, index * BLOCK_SIZE).ljust(BLOCK_SIZE, b"\0")
    finally:
        os.close(descriptor)


def _see(job: Job, snapshot_id: str, error: RegionError) -> None:
    """After a refusal: nothing, when the snapshot is sealed after all; else the reason why."""
    found = snapshot(job.ec2, snapshot_id)
    if found is not None and found.state == "error":
        raise failed(job.ec2, found) from error
    if found is None or not _is_refusal(error):
        raise error
    # The answer to a CompleteSnapshot may have been lost, and then the second one is refused.
    try:
        wait_completed(job.ec2, snapshot_id, patience=_DOUBT)
    except RegionError:
        raise error from error.__cause__


def _is_refusal(error: RegionError) -> bool:
    """Whether the region understood the request, and did not want it."""
    return refused_with(error) in {"ValidationException", "ResourceNotFoundException"}


def _holds(child: BlockList, image: BlockList) -> bool:
    """Whether a snapshot with these blocks is this image."""
    return len(child) == len(image) and all(
        have == want or (have == ZEROS and want == ZERO) for have, want in zip(child, image, strict=True)
    )
