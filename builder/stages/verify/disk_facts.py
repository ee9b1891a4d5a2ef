"""What `verify` knows of a disk with partitions, besides its root file system."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.formats import gpt
from builder.formats.gpt import SECTOR, Partition, Table

EFI_PROGRAM = "/EFI/BOOT/BOOTX64.EFI"
ROOTS = tuple(gpt.ROOT.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """All that the rules of disks look at."""

    table: Table | None
    problem: str = ""
    """Why there is no table."""
    boot_sector: bytes = field(default=b"", repr=False)
    core: bytes = field(default=b"", repr=False)
    """The first sector of the BIOS boot partition."""
    efi: bytes = field(default=b"", repr=False)
    """The first two bytes of the removable media path's program; none when it is not there."""
    esp: str = ""
    """UUID of the EFI system partition's file system."""

    def of_kind(self, *kinds: Any) -> Partition | None:
        """The first partition of one of these kinds."""
        partitions = self.table.partitions if self.table else ()
        return next((each for each in partitions if each.kind in kinds), None)

    @property
    def root(self) -> Partition | None:
        return self.of_kind(*ROOTS)


def read_disk(image: Path) -> DiskFacts:
    """What is on the disk outside its file systems: read by us, not by libguestfs, which would make do with either
    copy of the table."""
    size = image.stat().st_size
    with image.open("rb") as file:
        start = file.read(gpt.START_SECTORS * SECTOR)
        file.seek(max(0, size - gpt.END_SECTORS * SECTOR))
        end = file.read()
        try:
            table = gpt.parse_gpt(start, end, size // SECTOR)
        except ValueError as error:
            return DiskFacts(table=None, problem=str(error))
        facts = DiskFacts(table=table, boot_sector=start[:SECTOR])
        bios = facts.of_kind(gpt.BIOS_BOOT)
        if bios is None:
            return facts
        file.seek(bios.offset)
        return DiskFacts(table=table, boot_sector=start[:SECTOR], core=file.read(SECTOR))


def with_esp(facts: DiskFacts, handle: Any, device: str) -> DiskFacts:
    """The same, and what is in the EFI system partition of a drive of a launched guestfs handle."""
    partition = facts.of_kind(gpt.EFI_SYSTEM)
    if partition is None:
        return facts
    place, efi, uuid = f"{device}{partition.number}", b"", ""
    with suppress(RuntimeError):
        uuid = handle.vfs_uuid(place)
        handle.mount_ro(place, "/")
        try:
            efi = handle.pread(EFI_PROGRAM, 2, 0)
        finally:
            handle.umount("/")
    return DiskFacts(table=facts.table, boot_sector=facts.boot_sector, core=facts.core, efi=efi, esp=uuid)
