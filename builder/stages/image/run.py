"""The tree as an unpartitioned ext3 or ext4 image: `mke2fs -d`, no root, no loop device, equal bytes each time."""

import hashlib
import os
import stat
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.blocks import ZERO, block_digests, format_blocks
from builder.host import ext_image, process
from builder.host.ext_size import MIB, Usage, inode_count, measure, size_for
from builder.host.layers import root_tree
from builder.stages.contract import Result, StageContext
from builder.stages.image.spec import ImageSpec

LARGEST = 10 * 1024**3
"""EC2's limit for an instance-store root, inclusive."""

_CONFIGURATION = Path(__file__).with_name("mke2fs.conf")


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
    counts = ext_image.counts(image)
    _set_times(spec, image, root, used_inodes=ext_image.used_inodes(counts))
    digests = _write_blocks(image, context)
    return {
        "size": size,
        "used": (counts["Block count"] - counts["Free blocks"]) * counts["Block size"],
        "zero_blocks": digests.count(ZERO),
        "digests": {"blocks": hashlib.sha256(format_blocks(digests)).hexdigest()},
    }


def _require_size(spec: ImageSpec, size: int) -> None:
    if size > LARGEST:
        raise BuilderError(
            f"the image would be {_mib(size)}, and EC2 allows 10GiB for an instance-store root",
            hint="make image.size smaller" if spec.size else "make image.free smaller, or install less",
        )


def _make_file_system(spec: ImageSpec, usage: Usage, size: int, tree: Path, image: Path) -> None:
    environment = ext_image.environment(_CONFIGURATION, spec.source_epoch)
    inodes = inode_count(usage, size)
    try:
        ext_image.make_file_system(spec, inodes=inodes, tree=tree, image=image, environment=environment)
    except ext_image.DoesNotFit as error:
        needed = size_for(usage, 0, spec.inode_size)
        raise BuilderError(
            f"image.size: the tree does not fit into {_mib(size)}",
            detail=error.detail,
            hint=f'the tree needs about {_mib(needed)}: write a larger image.size, or "auto"',
        ) from None


def _set_times(spec: ImageSpec, image: Path, root: os.stat_result, *, used_inodes: int) -> None:
    mode, owner = stat.S_IMODE(root.st_mode), (root.st_uid, root.st_gid)
    lines = ext_image.root_script(mode=mode, owner=owner)
    lines += ext_image.times_script(epoch=spec.source_epoch, inode_size=spec.inode_size, used_inodes=used_inodes)
    ext_image.run_debugfs(image, lines, ext_image.environment(_CONFIGURATION, spec.source_epoch))


def _write_blocks(image: Path, context: StageContext) -> list[str]:
    with image.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digests = list(block_digests(file.fileno(), size, lambda done: context.progress("digest", done, size, "bytes")))
    (context.output / "blocks").write_bytes(format_blocks(digests))
    return digests


def _mib(size: int) -> str:
    return f"{-(-size // MIB)}MiB"
