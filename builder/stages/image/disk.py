"""The disk around a root file system: GPT, GRUB 2 for BIOS and for UEFI. Pure, but for what writes into its file.

Numbers are Debian's and Amazon's: the root is partition 1 and the last on the disk, so that it can grow with it.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError
from builder.formats import gpt, grub_image
from builder.formats.gpt import Partition, Table
from builder.host import esp
from builder.host.ext_image import Place
from builder.stages.image.grub import Loader
from builder.stages.image.spec import DiskSpec

MIB = 1024**2
GIB = 1024**3
BIOS_BOOT_NUMBER, ESP_NUMBER, ROOT_NUMBER = 14, 15, 1
_BIOS_BOOT = (1 * MIB, 2 * MIB)
_ESP = (2 * MIB, 64 * MIB)
_ROOT = 64 * MIB
_END = 1 * MIB  # for the backup table, and the root ends on a whole MiB
OVERHEAD = _ROOT + _END
ESP_LABEL = "ESP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where what lies, in bytes."""

    size: int
    table: Table

    @property
    def root(self) -> Partition:
        return self.partition(ROOT_NUMBER)

    def partition(self, number: int) -> Partition:
        return next(each for each in self.table.partitions if each.number == number)

    def place(self, file: Path) -> Place:
        """Of the root file system."""
        return Place(file=file, offset=self.root.offset, size=self.root.size)


def size_of_disk(root: int) -> int:
    """A whole number of GiB, as EBS has it, with room for a root of that many bytes."""
    return -(-(root + OVERHEAD) // GIB) * GIB


def lay_out(disk: DiskSpec, size: int) -> Layout:
    """The partitions of a disk of `size` bytes, a whole number of GiB."""
    places = [(ROOT_NUMBER, "root", gpt.ROOT[disk.architecture], _ROOT, size - _END)]
    places.append((BIOS_BOOT_NUMBER, "BIOS boot", gpt.BIOS_BOOT, *_BIOS_BOOT))
    if disk.esp:
        places.append((ESP_NUMBER, "EFI system", gpt.EFI_SYSTEM, *_ESP))
    identity = uuid.UUID(disk.identity)
    partitions = tuple(
        Partition(
            number=number,
            kind=kind,
            identity=uuid.uuid5(identity, name),
            first=start // gpt.SECTOR,
            last=end // gpt.SECTOR - 1,
            name=name,
        )
        for number, name, kind, start, end in places
    )
    return Layout(size=size, table=Table(identity=identity, sectors=size // gpt.SECTOR, partitions=partitions))


def write_around(disk: DiskSpec, layout: Layout, loader: Loader, image: Path, epoch: int) -> None:
    """Partition table and boot loaders, into an image that holds the root file system."""
    start, end = gpt.format_gpt(layout.table)
    bios = layout.partition(BIOS_BOOT_NUMBER)
    core = grub_image.place_core(loader.core, bios.first)
    if len(core) > bios.size:
        raise BuilderError(f"GRUB's core.img has {len(core)} bytes, and the partition for it {bios.size}")
    start = gpt.with_boot_code(start, grub_image.place_boot(loader.boot, bios.first))
    with image.open("r+b") as file:
        for offset, data in ((0, start), (bios.offset, core), (layout.size - len(end), end)):
            file.seek(offset)
            file.write(data)
    if loader.efi is not None:
        part = layout.partition(ESP_NUMBER)
        files = {"EFI/BOOT/BOOTX64.EFI": loader.efi}
        esp.make_esp(image, files, offset=part.offset, size=part.size, serial=disk.esp, label=ESP_LABEL, epoch=epoch)
