"""The `kernel` stage: kernel packages and the initrd, the same for pv and hvm."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later
from builder.stages.values import RPM_DATABASE, DebArchive, GuestPackage, LockedDeb, LockedPackage, PackageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpec:
    """Output: `layer.tar`. Inputs: `repository` steps, then the layers below, in order.

    Result: `{"version": "6.1.0-...", "vmlinuz": "/boot/...", "initrd": "/boot/...", "repacked": "lz4" or ""}`:
    `vmlinuz` is the file that the boot menu names, one that the loader can read.
    """

    VERSION: ClassVar[int] = 1

    architecture: str
    release: str
    repositories: tuple[PackageSource, ...]
    packages: tuple[LockedPackage, ...]
    initrd: str
    """initramfs-tools or dracut; inside: the one that the tree has is kept."""
    modules: tuple[str, ...]
    """What the initrd must hold (built into the kernel counts)."""
    payloads: tuple[str, ...]
    """Compressions that the loader reads; any other is repacked to gzip beside the packaged file. None: it reads none,
    and lets the kernel unpack itself."""
    source_epoch: int
    manager: str = later("")
    """Of an existing image: apt, dnf or yum, its own, installs `guest`."""
    guest: tuple[GuestPackage, ...] = later(())
    database: str = later(RPM_DATABASE)
    """Where the tree's own rpm looks for its database."""
    debs: tuple[LockedDeb, ...] = later(())
    """What dpkg installs; `packages` and `repositories` are empty then."""
    archives: tuple[DebArchive, ...] = later(())
    """Where `debs` are fetched from."""
