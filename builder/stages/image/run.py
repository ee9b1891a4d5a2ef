"""The tree as an ext3 or ext4 file system, alone or on a disk with partitions: no root, no loop device, equal bytes
each time, and of two trees that differ a little most blocks of 512 KiB are the same.
"""

import hashlib
import os
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.blocks import ZERO, block_digests, format_blocks
from builder.host import ext_image, ext_tree, process
from builder.host.ext_image import Place
from builder.host.ext_size import MIB, Usage, inode_count, measure, size_for
from builder.host.layers import root_tree
from builder.stages.contract import Result, StageContext
from builder.stages.image import mbr
from builder.stages.image.disk import OVERHEAD, Layout, lay_out, size_of_disk, write_around
from builder.stages.image.grub import Loader, make_loader
from builder.stages.image.spec import DiskSpec, ImageSpec

LARGEST = 10 * 1024**3
"""EC2's limit for an instance-store root, inclusive."""

_CONFIGURATION = Path(__file__).with_name("mke2fs.conf")


def run(spec: ImageSpec, context: StageContext) -> Result:
    """Write `disk.raw`, sparse, and `blocks`. Equal trees and specs give equal bytes, whoever runs this where."""
    process.require("mke2fs", "e2fsprogs")
    image = context.output / "disk.raw"
    loader = _make_loader(spec, spec.disk, context) if spec.disk else None
    with root_tree(context, writable=False) as tree:
        usage = measure(tree.path)
        layout = _layout(spec, spec.disk, usage) if spec.disk else None
        size = layout.size if layout else _image_size(spec, usage)
        place = layout.place(image) if layout else mbr.place(image, size) if spec.mbr else Place(file=image)
        with image.open("wb") as file:
            file.truncate(size)
        _make_file_system(spec, usage, place, tree.path)
    counts = ext_image.counts(place)
    if spec.mbr:
        mbr.write_table(image, spec.mbr)
    if spec.disk and layout and loader:
        write_around(spec.disk, layout, loader, image, spec.source_epoch)
    digests = _write_blocks(image, context)
    return {
        "size": size,
        "used": (counts["Block count"] - counts["Free blocks"]) * counts["Block size"],
        "zero_blocks": digests.count(ZERO),
        "digests": {"blocks": hashlib.sha256(format_blocks(digests)).hexdigest()},
    }


def _make_loader(spec: ImageSpec, disk: DiskSpec, context: StageContext) -> Loader:
    """In a tree of its own: a program that runs there must leave no trace in the image."""
    work = context.scratch / "loader"
    work.mkdir()
    with root_tree(context, writable=True) as tree:
        return make_loader(tree.path, disk, spec.uuid, work)


def _layout(spec: ImageSpec, disk: DiskSpec, usage: Usage) -> Layout:
    return lay_out(
        disk, size_of_disk((spec.size - OVERHEAD) if spec.size else size_for(usage, spec.free, spec.inode_size))
    )


def _image_size(spec: ImageSpec, usage: Usage) -> int:
    """Of an image for the instance store. BuilderError when EC2 would not take it."""
    size = spec.size or size_for(usage, spec.free, spec.inode_size) + (mbr.OVERHEAD if spec.mbr else 0)
    if size > LARGEST:
        raise BuilderError(
            f"the image would be {_mib(size)}, and EC2 allows 10GiB for an instance-store root",
            hint="make image.size smaller" if spec.size else "make image.free smaller, or install less",
        )
    return size


def _make_file_system(spec: ImageSpec, usage: Usage, place: Place, tree: Path) -> None:
    environment = ext_image.environment(_CONFIGURATION, spec.source_epoch)
    size = place.size or place.file.stat().st_size
    inodes = inode_count(usage, size)
    try:
        ext_image.make_file_system(spec, inodes=inodes, tree=None, place=place, environment=environment)
        ext_tree.fill(tree, place, inode_size=spec.inode_size, epoch=spec.source_epoch)
    except ext_image.DoesNotFit as error:
        needed = size_for(usage, 0, spec.inode_size)
        raise BuilderError(
            f"image.size: the tree does not fit into {_mib(size)}",
            detail=error.detail,
            hint=f'the tree needs about {_mib(needed)}: write a larger image.size, or "auto"',
        ) from None


def _write_blocks(image: Path, context: StageContext) -> list[str]:
    with image.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digests = list(block_digests(file.fileno(), size, lambda done: context.progress("digest", done, size, "bytes")))
    (context.output / "blocks").write_bytes(format_blocks(digests))
    return digests


def _mib(size: int) -> str:
    return f"{-(-size // MIB)}MiB"
