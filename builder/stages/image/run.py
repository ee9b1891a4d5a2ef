"""The tree as an unpartitioned ext3 or ext4 image: `mke2fs -d`, no root, no loop device, equal bytes each time."""

import hashlib
import os
import re
import stat
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.blocks import ZERO, block_digests, format_blocks
from builder.host import process
from builder.host.layers import root_tree
from builder.stages.contract import Result, StageContext
from builder.stages.image.size import MIB, RESERVED_PERCENT, Usage, inode_count, measure, size_for
from builder.stages.image.spec import ImageSpec

LARGEST = 10 * 1024**3
"""EC2's limit for an instance-store root, inclusive."""

_CONFIGURATION = Path(__file__).with_name("mke2fs.conf")
_ROOT_INODE = 2
_FIRST_INODE = 11  # lost+found; before it are the file system's own.
_NO_SPACE = re.compile(r"allocate (?:block|inode)|No free (?:space|inodes)|Not enough space", re.IGNORECASE)


def run(spec: ImageSpec, context: StageContext) -> Result:
    """Write `disk.raw`, sparse, and `blocks`. Equal trees and specs give equal bytes, whoever runs this where."""
    process.require("mke2fs", "e2fsprogs")
    image = context.output / "disk.raw"
    with root_tree(context, writable=False) as tree:
        usage = measure(tree.path)
        size = spec.size or size_for(usage, spec.free, spec.inode_size)
        _require_size(spec, size)
        with image.open("wb") as file:
            file.truncate(size)
        _make_file_system(spec, usage, size, tree.path, image)
        root = tree.path.stat()
    counts = _counts(image)
    _set_times(spec, image, root, used_inodes=counts["Inode count"] - counts["Free inodes"])
    digests = _write_blocks(image, context)
    return {
        "size": size,
        "used": (counts["Block count"] - counts["Free blocks"]) * counts["Block size"],
        "zero_blocks": digests.count(ZERO),
        "digests": {"blocks": hashlib.sha256(format_blocks(digests)).hexdigest()},
    }


def mke2fs_command(spec: ImageSpec, *, inodes: int, tree: Path, image: Path) -> list[str | Path]:
    """The command line; `E2FSPROGS_FAKE_TIME` and `MKE2FS_CONFIG` are the other half of what decides the bytes."""
    return [
        "mke2fs", "-q", "-F", "-t", spec.filesystem, "-O", spec.features, "-b", "4096", "-I", str(spec.inode_size),
        "-N", str(inodes), "-m", str(RESERVED_PERCENT), "-L", spec.label, "-U", spec.uuid,
        "-E", f"hash_seed={spec.hash_seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        "-d", tree, image,
    ]  # fmt: skip


def debugfs_script(spec: ImageSpec, *, root_mode: int, root_owner: tuple[int, int], used_inodes: int) -> str:
    """Set what mke2fs takes from the clock and from reading: change and access times of every inode in use.

    mke2fs 1.47.0 gives the root directory a mode of its own, so that is set as well. Inodes of 128 bytes have no
    room for the parts of a second.
    """
    fields = ("ctime", "atime")
    lines = [f"sif <{_ROOT_INODE}> mode 0{stat.S_IFDIR | root_mode:o}"]
    lines += [f"sif <{_ROOT_INODE}> {name} {value}" for name, value in zip(("uid", "gid"), root_owner, strict=True)]
    for inode in (_ROOT_INODE, *range(_FIRST_INODE, used_inodes + 1)):
        lines += [f"sif <{inode}> {field} @{spec.source_epoch}" for field in fields]
        if spec.inode_size > 128:
            lines += [f"sif <{inode}> {field}_extra 0" for field in fields]
    return "\n".join(lines) + "\n"


def _environment(spec: ImageSpec) -> dict[str, str]:
    # e2fsprogs 1.47.0 ignores SOURCE_DATE_EPOCH. LC_ALL=C: mke2fs -d sorts names by collation.
    return {"E2FSPROGS_FAKE_TIME": str(spec.source_epoch), "MKE2FS_CONFIG": str(_CONFIGURATION), "LC_ALL": "C"}


def _require_size(spec: ImageSpec, size: int) -> None:
    if size > LARGEST:
        raise BuilderError(
            f"the image would be {_mib(size)}, and EC2 allows 10GiB for an instance-store root",
            hint="make image.size smaller" if spec.size else "make image.free smaller, or install less",
        )


def _make_file_system(spec: ImageSpec, usage: Usage, size: int, tree: Path, image: Path) -> None:
    command = mke2fs_command(spec, inodes=inode_count(usage, size), tree=tree, image=image)
    done = process.run(command, env=_environment(spec), capture=True, check=False)
    if done.returncode == 0:
        return
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if not _NO_SPACE.search(said) and "too big" not in said:
        raise BuilderError("mke2fs could not make the file system", detail=said)
    needed = size_for(usage, 0, spec.inode_size)
    raise BuilderError(
        f"image.size: the tree does not fit into {_mib(size)}",
        detail=said,
        hint=f'the tree needs about {_mib(needed)}: write a larger image.size, or "auto"',
    )


def _counts(image: Path) -> dict[str, int]:
    """What the superblock says."""
    shown = process.run(["dumpe2fs", "-h", image], capture=True).stdout.decode()
    return {name: int(value) for name, value in re.findall(r"^([A-Z][a-z ]+): +(\d+)$", shown, re.MULTILINE)}


def _set_times(spec: ImageSpec, image: Path, root: os.stat_result, *, used_inodes: int) -> None:
    """One run of debugfs: each that writes to ext4 adds to the superblock's count of kilobytes written."""
    script = debugfs_script(
        spec, root_mode=stat.S_IMODE(root.st_mode), root_owner=(root.st_uid, root.st_gid), used_inodes=used_inodes
    )
    done = process.run(
        ["debugfs", "-w", "-f", "-", image], env=_environment(spec), stdin=script.encode(), capture=True, check=False
    )
    complaints = [
        line
        for line in done.stderr.decode(errors="replace").splitlines()
        if line.strip() and not line.startswith("debugfs 1.")
    ]
    if done.returncode != 0 or complaints:
        raise BuilderError("debugfs could not set the times in the image", detail="\n".join(complaints[:20]))


def _write_blocks(image: Path, context: StageContext) -> list[str]:
    with image.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digests = list(block_digests(file.fileno(), size, lambda done: context.progress("digest", done, size, "bytes")))
    (context.output / "blocks").write_bytes(format_blocks(digests))
    return digests


def _mib(size: int) -> str:
    return f"{-(-size // MIB)}MiB"
