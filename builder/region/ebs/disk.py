"""A snapshot as one file, for a hypervisor to start from."""

import os
import threading
from pathlib import Path

from builder.region.ebs import record
from builder.region.ebs.record import BLOCK
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError

_LOCK = threading.Lock()


def snapshot_disk(region: Region, snapshot_id: str) -> Path:
    """A raw sparse file of the snapshot's size and content: made once, kept until the snapshot is deleted, and never
    to be written to. ServiceError as EC2 words it for one that is not there, not completed, or not the caller's to use.
    """
    found = record.find(region, snapshot_id)
    if found is None:
        raise ServiceError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    if found.standing().state != "completed":
        raise ServiceError("IncorrectState", f"Snapshot {snapshot_id} is not completed")
    path = region.state.disk(snapshot_id)
    with _LOCK:
        if not path.exists():
            _make(region, snapshot_id, found.volume_size << 30, path)
    return path


def _make(region: Region, snapshot_id: str, size: int, path: Path) -> None:
    rows = region.state.rows("SELECT position, blob FROM snapshot_blocks WHERE snapshot = ?", (snapshot_id,))
    aside = path.with_suffix(".part")
    with aside.open("wb") as disk:
        disk.truncate(size)
        for row in rows:
            with region.state.blob(row["blob"]).open("rb") as block:
                _copy(block.fileno(), disk.fileno(), row["position"] * BLOCK)
    aside.chmod(0o400)
    aside.rename(path)


def _copy(source: int, target: int, offset: int) -> None:
    done = 0
    while done < BLOCK:
        done += os.copy_file_range(source, target, BLOCK - done, done, offset + done)
