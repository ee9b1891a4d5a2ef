"""Finds the snapshot by its key tag, or makes it: block by block, or by way of S3 where that is not allowed."""

from builder.cloud import session
from builder.cloud.ebs import Denied, Direct
from builder.cloud.snapshots import Snapshot, delete_snapshot, snapshots_by_key, wait_completed
from builder.errors import BuilderError
from builder.formats.blocks import BLOCK_SIZE, ZERO
from builder.stages.account import refuse_other_account
from builder.stages.contract import Result, StageContext
from builder.stages.snapshot import direct, imported
from builder.stages.snapshot.direct import Job, Made
from builder.stages.snapshot.journal import Journal, journal
from builder.stages.snapshot.lists import read_image_blocks, volume_size
from builder.stages.snapshot.spec import SnapshotSpec

JOURNALS = "snapshots"
"""Below the user's state directory."""
LISTS = "block-lists"
"""Below the cache directory: lists of blocks by their digest."""


def run(spec: SnapshotSpec, context: StageContext) -> Result:
    """The snapshot of this key, completed. Killed and run again it goes on where it was; two at once end with one."""
    job = _job(spec, context)
    refuse_other_account(spec.account, spec.region, context.surroundings, "snapshot")
    with journal(context.surroundings.state / JOURNALS, context.key, waiting=lambda: _waiting(context)) as diary:
        known = snapshots_by_key(job.ec2, [context.key]).get(context.key, ())
        done = next((each for each in known if each.state == "completed"), None)
        if done is not None and _is_other(diary, done):
            _sweep(job, diary, known)
            return _result(job, _found(done), found=True)
        made, method = _made(job, diary, [each for each in known if each.state == "error"])
        wait_completed(job.ec2, made.snapshot_id, heard=lambda each: _tell(context, each))
        diary.finish()
    return _result(job, made, method=method)


def _job(spec: SnapshotSpec, context: StageContext) -> Job:
    image = context.input("image").path
    size = (image / "disk.raw").stat().st_size
    if not size or size % BLOCK_SIZE:
        raise BuilderError(
            f"the image has {size} bytes, and a snapshot is made of blocks of 512 KiB",
            hint="write an image.size in whole MiB",
        )
    return Job(
        spec=spec,
        context=context,
        disk=image / "disk.raw",
        blocks=read_image_blocks(image / "blocks", size),
        size=volume_size(size),
        ec2=session.client("ec2", context.surroundings, spec.region),
        lists=context.surroundings.cache / LISTS,
    )


def _made(job: Job, diary: Journal, gone_wrong: list[Snapshot]) -> tuple[Made, str]:
    """The snapshot, all of it sent, and by which way."""
    if diary.begun is not None and (diary.written.upload or diary.written.task):
        return imported.make(job, diary), "import"
    reached = Direct(lambda: session.client("ebs", job.context.surroundings, job.spec.region))
    try:
        return direct.make(job, reached, diary, gone_wrong), "direct"
    except Denied as denied:
        job.context.note(
            f"{denied.brief}: so the whole image is sent to S3 and imported from there, which takes longer. "
            f"{denied.hint}, to have only changed blocks sent."
        )
        if diary.begun is not None and diary.written.snapshot_id:
            delete_snapshot(job.ec2, diary.written.snapshot_id)
        return imported.make(job, diary), "import"


def _is_other(diary: Journal, done: Snapshot) -> bool:
    """Whether a completed snapshot is not the one that the journal is about, which has its counts to tell."""
    return diary.begun is None or diary.written.snapshot_id != done.id


def _sweep(job: Job, diary: Journal, known: tuple[Snapshot, ...]) -> None:
    """Remove what was begun for this key, and is not needed: another builder was quicker."""
    begun = {diary.written.snapshot_id, *diary.begun.replaces} if diary.begun else set()
    for each in known:
        if each.state == "error" or (each.id in begun and each.state != "completed"):
            delete_snapshot(job.ec2, each.id)
    diary.finish()


def _found(done: Snapshot) -> Made:
    from builder.cloud.snapshots import BLOCKS_TAG, PARENT_TAG

    tags = done.tags
    return Made(
        snapshot_id=done.id, blocks=tags.get(BLOCKS_TAG, ""), parent=tags.get(PARENT_TAG, ""), full="", sent=0, kept=0
    )


def _result(job: Job, made: Made, *, found: bool = False, method: str = "") -> Result:
    return {
        "snapshot_id": made.snapshot_id,
        "volume_size": job.size,
        "parent": made.parent,
        "full": made.full,
        "method": method,
        "blocks": made.blocks,
        "blocks_total": len(job.blocks) - job.blocks.count(ZERO),
        "blocks_sent": made.sent,
        "blocks_kept": made.kept,
        "found": found,
    }


def _waiting(context: StageContext) -> None:
    context.note("another build on this machine makes the same snapshot: waiting for it")


def _tell(context: StageContext, found: Snapshot) -> None:
    percent = found.progress.rstrip("%")
    context.progress("snapshot completed", int(percent) if percent.isdecimal() else 0, 100, "percent")
