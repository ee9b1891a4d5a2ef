"""What a plan is made from: one variant of a locked recipe, and the facts that its specs need. Pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from builder.catalog.instance_types import Disk, beside_a_disk, instance_type
from builder.catalog.kernels import PARTITIONED_LOADER, Kernel
from builder.lock import ArchitectureLock, Lock
from builder.plan.step import Variant
from builder.recipe.model import Recipe
from builder.stages.customise.spec import File, Script

_Value = TypeVar("_Value")

IDENTITY = uuid.UUID("6f1c7a0e-6d5b-4f0b-9d3c-2f3f0a6f5d11")  # The name space of our file systems' UUIDs.


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What loading read for the recipe, besides its tables."""

    files: Mapping[str, tuple[File, ...]]
    """By architecture: a template may ask for it."""
    scripts: tuple[tuple[str, Script], ...] = ()
    """("packages" or "kernel", script)"""
    units: tuple[tuple[str, str], ...] = ()
    """Name and text of the author's systemd units."""
    links: tuple[tuple[str, str], ...] = ()
    """Path and target of the symbolic links of overlays."""
    uefi_data: str = ""
    """UEFI's variables, as EC2 takes them."""
    paths: Mapping[str, str]
    """SHA-256 to path, of files and GPG keys."""
    keys: Mapping[str, str]
    """GPG key file, as the recipe names it, to SHA-256."""
    base: str = ""
    """Where the recipe's existing image is: a path, an address in S3, or the id of an AMI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The region and the account that the AMIs are for."""

    region: str
    partition: str
    endpoint: str
    account: str
    user_certificate: str
    user_certificate_path: str
    ec2_certificate: str
    ec2_certificate_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What decides outputs, and is neither in the recipe nor in its lock: our key, and files that stages ship."""

    signing_key: str = ""
    """Of a repacked distribution's repository, as is `definition`; see plan.repositories."""
    definition: str = ""
    configure: str = ""
    """Digest of the stage's data files, as are `configure_hvm` and `image`; see stages.data."""
    configure_hvm: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One variant of a locked recipe, with all that its specs are made from."""

    recipe: Recipe
    kernel: Kernel
    lock: Lock
    sources: Sources
    made: Made
    target: Target
    variant: Variant

    @property
    def locked(self) -> ArchitectureLock:
        return self.lock.architectures[self.variant.architecture]

    @property
    def epoch(self) -> int:
        """The one clock of the build: the newest build time among this architecture's packages."""
        return self.locked.source_epoch

    @property
    def disks(self) -> tuple[tuple[str, str], ...]:
        """(virtual name, classic device) of the instance type's disks that have a stable name."""
        return tuple((disk.virtual, disk.device) for disk in self.instance_disks if disk.device)

    @property
    def instance_disks(self) -> tuple[Disk, ...]:
        disks = instance_type(self.variant.instance_type).disks
        return beside_a_disk(disks) if self.partitioned else disks

    @property
    def identity(self) -> uuid.UUID:
        """Of the root file system: the same for every build of a variant, so that two builds differ in the blocks that
        really changed."""
        return uuid.uuid5(IDENTITY, self.variant.name)

    @property
    def esp(self) -> str:
        """Serial number of the EFI system partition's file system; "" where EC2 knows only BIOS, 32 bits."""
        architecture = self.variant.architecture
        return uuid.uuid5(self.identity, "ESP").hex[:8].upper() if architecture == "x86_64" else ""

    @property
    def boot_mode(self) -> str:
        """EC2's word. It has UEFI for 64 bits only (EC2 User Guide, "Boot modes")."""
        wanted = self.recipe.register_.boot_mode
        return wanted if self.variant.architecture == "x86_64" else "legacy-bios"

    @property
    def hvm(self) -> bool:
        return self.variant.virtualization == "hvm"

    @property
    def partitioned(self) -> bool:
        """A paravirtual image that is a disk with an MBR; those of hvm have partitions anyway."""
        return not self.hvm and self.recipe.image.partitioned

    @property
    def loader(self) -> str:
        """Which PV-GRUB boots it; "" of hvm."""
        return "" if self.hvm else PARTITIONED_LOADER if self.partitioned else self.kernel.pv.loader

    @property
    def modules(self) -> tuple[str, ...]:
        """What the initrd must hold."""
        return self.kernel.hvm.modules if self.hvm else self.kernel.modules

    @property
    def aki(self) -> str:
        return self.kernel.aki_in(self.variant.region, self.variant.architecture, partitioned=self.partitioned)

    @property
    def unsupported(self) -> str:
        """Why the kernel will not boot as this variant's kind of guest, or ""."""
        return "" if self.hvm else _of(self.kernel.pv.unsupported, self.variant.architecture) or ""


def _of(table: Mapping[Any, _Value], architecture: str) -> _Value | None:
    """An entry of a table whose keys pydantic narrowed to the known architectures."""
    return table.get(architecture)
