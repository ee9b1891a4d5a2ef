"""What a disk with an MBR must be like for PV-GRUB hd00 to find its root: rules over facts, beside rules.py's."""

from collections.abc import Iterator
from pathlib import Path

from builder.errors import BuilderError
from builder.formats import mbr
from builder.formats.mbr import LINUX, SECTOR, Partition
from builder.stages.verify.facts import Facts
from builder.stages.verify.spec import VerifySpec

_AGAIN = "build the image step again: ami-factory build RECIPE --rebuild image"


def read_partitions(image: Path) -> tuple[Partition, ...]:
    """What the disk's table says, the root first. BuilderError where there is none to look into."""
    with image.open("rb") as file:
        start = file.read(SECTOR)
    try:
        found = mbr.parse_mbr(start, image.stat().st_size // SECTOR)
    except ValueError as error:
        raise BuilderError(f"there are no partitions to look into: {error}", hint=_AGAIN) from None
    if found[0].number != 1:
        raise BuilderError("there is no first partition, which PV-GRUB hd00 starts from", hint=_AGAIN)
    return found


def partition_table(spec: VerifySpec, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """The root is the first partition, which (hd0,0) means, of Linux's type, and no other is there."""
    root, *others = facts.partitions
    if root.kind != LINUX:
        yield "/dev", f"the first partition's type is {root.kind:#04x}, not Linux's", _AGAIN
    if others:
        yield "/dev", f"there are {len(facts.partitions)} partitions, and the image has only its root", _AGAIN


RULES = {"partition-table": partition_table}
