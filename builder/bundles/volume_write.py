"""The file system of a volume's image: what it is called, how large it is, and its bytes."""

import os
import stat
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.bundles import volume_mounts
from builder.bundles.contract import Progress
from builder.bundles.volume_job import Job
from builder.bundles.volume_mounts import Traits
from builder.errors import NO_SPACE, BuilderError, HostError
from builder.host import ext_image
from builder.host.ext_size import BLOCK, MIB, inode_count, measure, size_for

_CONFIGURATION = Path(__file__).with_name("mke2fs.conf")
# Amazon's PV-GRUB reads neither 64bit nor metadata_csum, and no inode of ext2 and ext3 but of 128 bytes if it is old.
_FEATURES = "^64bit,^metadata_csum,^orphan_file"
_INODE_SIZE = {"ext2": 128, "ext3": 128, "ext4": 256}
# An old init finds no console without them; /dev is left empty otherwise. Name, major, minor, mode.
_NODES = (("console", 5, 1, 0o600), ("null", 1, 3, 0o666), ("tty", 5, 0, 0o666), ("zero", 1, 5, 0o666))
_LOOK_SECONDS = 0.25
_ELSEWHERE = "make room, or choose another --destination"


class Vanished(Exception):
    """Something went away while it was read; the text is what mke2fs says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtLayout:
    """What decides the file system besides the tree (host/ext_image.py: Layout)."""

    filesystem: str
    label: str
    uuid: str
    hash_seed: str
    features: str = _FEATURES

    @property
    def inode_size(self) -> int:
        return _INODE_SIZE[self.filesystem]


def layout_of(job: Job, found: Traits) -> ExtLayout:
    """What the job says, else what the volume is and is called; names are derived where equal volumes give equal
    images, and random elsewhere.
    """
    filesystem = job.filesystem or found.filesystem
    if filesystem not in volume_mounts.EXT:
        filesystem = volume_mounts.DEFAULT_FILESYSTEM
    name = job.uuid or found.uuid
    if job.epoch is None:
        name, seed = name or str(uuid.uuid4()), str(uuid.uuid4())
    else:
        name = name or str(uuid.uuid5(uuid.NAMESPACE_OID, f"ami-factory volume {job.epoch}"))
        seed = str(uuid.uuid5(uuid.NAMESPACE_OID, f"ami-factory hash seed {name}"))
    return ExtLayout(filesystem=filesystem, label=job.label or found.label, uuid=name, hash_seed=seed)


def write_image(job: Job, layout: ExtLayout, tree: Path, progress: Progress) -> int:
    """Write the image of the tree; the bytes of the smallest that would have done."""
    image = Path(job.image)
    environment = ext_image.environment(_CONFIGURATION, job.epoch)
    usage = measure(tree, allocated=True)
    needed = size_for(usage, 0, layout.inode_size)
    _require_size(job, needed, usage.blocks * BLOCK)
    inodes = inode_count(usage, job.size)
    # Whoever may not read the volume's secrets must not read them in its image.
    with os.fdopen(os.open(image, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.truncate(job.size)
    try:
        with _watched(image, usage.blocks * BLOCK, progress):
            place = ext_image.Place(file=image)
            ext_image.make_file_system(layout, inodes=inodes, tree=tree, place=place, environment=environment)
    except ext_image.DoesNotFit as error:
        raise _too_small(job, needed, error.detail) from None
    except BuilderError as error:
        if "No such file or directory" in error.detail or "Stale file handle" in error.detail:
            raise Vanished(error.detail) from error
        if NO_SPACE in error.detail:
            raise HostError("the disk of the destination is full", detail=error.detail, hint=_ELSEWHERE) from None
        raise
    _finish(job, layout, tree, environment)
    return needed


@contextmanager
def _watched(image: Path, total: int, progress: Progress) -> Iterator[None]:
    """Tell how much of the image is there: mke2fs does not say."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            progress(min(image.stat().st_blocks * 512, total), total)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _require_size(job: Job, needed: int, data: int) -> None:
    if needed > job.size:
        raise _too_small(job, needed, "")
    room = os.statvfs(Path(job.image).parent)
    if room.f_bavail * room.f_frsize < data:
        raise HostError(
            f"there are {room.f_bavail * room.f_frsize // MIB} MiB left in the destination, and the image has "
            f"{-(-data // MIB)} MiB of data",
            hint=_ELSEWHERE,
        )


def _too_small(job: Job, needed: int, said: str) -> BuilderError:
    least = -(-needed // MIB)
    return BuilderError(
        f"the volume does not fit into an image of {job.size // MIB} MiB",
        detail=said,
        hint=f"it needs about {least} MiB: give --size {least}"
        if needed <= 10 * 1024 * MIB
        else f"it needs about {least} MiB, and EC2 allows 10240: leave something out with --exclude",
    )


def _finish(job: Job, layout: ExtLayout, tree: Path, environment: dict[str, str]) -> None:
    """What mke2fs does not do: the root directory's own mode and times, the nodes in /dev, times that are the job's."""
    image, root = Path(job.image), tree.stat()
    lines = ext_image.root_script(mode=stat.S_IMODE(root.st_mode), owner=(root.st_uid, root.st_gid))
    lines += [f"sif <{ext_image.ROOT_INODE}> mtime @{int(root.st_mtime)}"]
    nodes = _NODES if (tree / "dev").is_dir() and not (tree / "dev").is_symlink() else ()
    for name, major, minor, mode in nodes:
        lines += [
            "cd /dev",
            f"mknod {name} c {major} {minor}",
            "cd /",
            f"sif /dev/{name} mode 0{stat.S_IFCHR | mode:o}",
        ]
    if job.epoch is not None:
        used = ext_image.used_inodes(ext_image.counts(ext_image.Place(file=image))) + len(nodes)
        lines += ext_image.times_script(epoch=job.epoch, inode_size=layout.inode_size, used_inodes=used)
    ext_image.run_debugfs(ext_image.Place(file=image), lines, environment)
