"""The snapshot that the next one is started from: the newest of the lineage that is known block by block."""

from dataclasses import dataclass
from pathlib import Path

from builder.cloud.ebs import Direct
from builder.cloud.errors import Client
from builder.cloud.snapshots import BLOCKS_TAG, ENCRYPTION_TAG, Snapshot, snapshots_of_lineage
from builder.errors import RegionError
from builder.formats.blocks import BlockList
from builder.stages.snapshot.lists import agrees, find, lengthened
from builder.stages.snapshot.spec import SnapshotSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A parent and its blocks, as long as the new volume; or none (id ""), and why."""

    id: str = ""
    blocks: BlockList
    digest: str = ""
    """Of its list, as it is in the cache."""
    why: str = ""


def encryption(spec: SnapshotSpec) -> str:
    """What is asked for, as the tag says it."""
    return (spec.kms_key or "default") if spec.encrypted else "none"


def find_parent(spec: SnapshotSpec, size: int, *, ec2: Client, direct: Direct, lists: Path) -> Parent:
    """The parent for a volume of `size` GiB. Nothing of it is assumed: its list of blocks must be at hand, by the
    digest in its tag, and name the very blocks that the region lists."""
    none = lengthened(BlockList(), size)
    found = snapshots_of_lineage(ec2, spec.lineage)
    if not found:
        return Parent(blocks=none, why=f"there is no snapshot of the lineage {spec.lineage} yet")
    refusals = []
    for each in found:
        why = unfit(each, spec, size)
        if not why:
            return _known(each, size, none, direct, lists)
        refusals.append(why)
    return Parent(blocks=none, why=refusals[0])


def unfit(found: Snapshot, spec: SnapshotSpec, size: int) -> str:
    """Why it cannot be the parent, or "". Pure."""
    if found.volume_size > size:
        return f"{found.id} has {found.volume_size} GiB, more than the {size} GiB of this image"
    asked = encryption(spec)
    if spec.encrypted and not found.encrypted:
        return f"{found.id} is not encrypted"
    if found.tags.get(ENCRYPTION_TAG) != asked:
        return f"{found.id} is encrypted otherwise: {found.tags.get(ENCRYPTION_TAG) or 'unknown'}, not {asked}"
    if spec.kms_key and found.kms_key != spec.kms_key:
        return f"{found.id} is encrypted with another key: {found.kms_key}"
    if found.archived:
        return f"{found.id} is archived"
    return ""


def _known(found: Snapshot, size: int, none: BlockList, direct: Direct, lists: Path) -> Parent:
    digest = found.tags.get(BLOCKS_TAG, "")
    blocks = find(lists, digest) if digest else None
    if blocks is None:
        return Parent(blocks=none, why=f"the list of blocks of {found.id} is not on this machine")
    try:
        listed = set(direct.indices(found.id))
    except RegionError as error:
        return Parent(blocks=none, why=f"the blocks of {found.id} cannot be listed: {error.brief}")
    if len(blocks) > len(none) or not agrees(blocks, listed):
        return Parent(blocks=none, why=f"{found.id} has other blocks than its list says")
    return Parent(id=found.id, blocks=lengthened(blocks, size), digest=digest)
