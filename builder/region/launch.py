"""From an instance's record to a guest: its bundle, fetched from the region's own S3, decrypted and checked as EC2 does
it at each launch; the disks of its type; its kernel.

A disk that was made of a bundle is kept under the digest of the manifest and of all parts: a part that was replaced,
removed or made private since is noticed, and nothing is decrypted twice.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.canonical import digest_of
from builder.errors import BuilderError
from builder.formats.bundle_manifest import BundleManifest, Part
from builder.region.ec2 import kernels
from builder.region.ec2.instances.addresses import DOMAIN
from builder.region.ec2.instances.record import Instance
from builder.region.errors import ServiceError
from builder.region.state import Row, State

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from builder.machine.guest import Disk, GuestSpec

PIECE = 1 << 20
FASTEST_VCPUS = 2
"""A guest of one boots half as fast again (reference/xen-boot.md: 39 s instead of 49)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """Bundles as disks."""

    state: State
    private_key: "Callable[[], RSAPrivateKey]"
    directory: Path
    _lock: threading.Lock

    @classmethod
    def under(cls, directory: Path, state: State, private_key: "Callable[[], RSAPrivateKey]") -> "Bundles":
        return cls(state=state, private_key=private_key, directory=directory, _lock=threading.Lock())

    def disk(self, image: str, location: str) -> Path:
        """The decrypted image of a bundle. BuilderError, naming what is wrong, unless every byte is as its manifest
        says."""
        from builder.bundles.read import unbundle
        from builder.formats.manifest_reader import open_manifest, read_manifest

        row = self.state.row("SELECT manifest FROM images WHERE id = ?", (image,))
        if row is None:
            raise BuilderError(f"{image} is not registered any more")
        key = self.private_key()
        manifest = read_manifest(open_manifest(row["manifest"], key))
        source = RegionParts.of(self.state, location, manifest)
        name = digest_of([hashlib.sha256(row["manifest"]).hexdigest(), source.blobs()])
        path = self.directory / f"{name}.raw"
        with self._lock:
            if not path.exists():
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                unbundle(row["manifest"], source, key, path)
        return path

    def keep_only(self, images: Mapping[str, str]) -> None:
        """Remove what no image (its id, and where its bundle lies) is made of any more, and what was cut off."""
        from builder.formats.manifest_reader import open_manifest, read_manifest

        wanted = set()
        for image, location in images.items():
            row = self.state.row("SELECT manifest FROM images WHERE id = ?", (image,))
            with suppress(BuilderError):  # no longer whole: then no instance starts from it either
                manifest = read_manifest(open_manifest(row["manifest"], self.private_key())) if row else None
                if row and manifest:
                    blobs = RegionParts.of(self.state, location, manifest).blobs()
                    wanted.add(f"{digest_of([hashlib.sha256(row['manifest']).hexdigest(), blobs])}.raw")
        with self._lock:
            for path in self.directory.glob("*"):
                if path.name not in wanted:
                    path.unlink()


class RegionParts:
    """The parts of a bundle in the region's own S3 (a PartSource), as EC2 is allowed to read them."""

    def __init__(self, state: State, rows: Mapping[str, Row]) -> None:
        self._state = state
        self._rows = rows

    @classmethod
    def of(cls, state: State, location: str, manifest: BundleManifest) -> "RegionParts":
        """BuilderError for a part that is not there, or that EC2 may not read."""
        from builder.region.ec2.bundles import find_object

        bucket, _, key = location.partition("/")
        prefix = key.rpartition("/")[0]
        rows = {}
        for part in manifest.parts:
            try:
                rows[part.filename] = find_object(
                    state, bucket, f"{prefix}/{part.filename}" if prefix else part.filename
                )
            except ServiceError as error:
                raise BuilderError(f"part {part.filename} of the bundle: {error.message}") from error
        return cls(state, rows)

    def blobs(self) -> list[list[str]]:
        """What is in the parts, in their order, as digests."""
        from builder.region.s3.objects import pieces_of

        return [[blob for blob, _ in pieces_of(self._state, row["id"])] for row in self._rows.values()]

    def lengths(self) -> Mapping[str, int]:
        return {name: row["size"] for name, row in self._rows.items()}

    def read(self, part: Part) -> Iterator[bytes]:
        from builder.region.s3.objects import open_pieces

        row = self._rows[part.filename]
        try:
            opened = open_pieces(self._state, row["id"], 0, row["size"])
        except FileNotFoundError as error:
            raise BuilderError(f"part {part.filename} was replaced while it was being read") from error
        for file, _, length in opened:
            with file:
                left = length
                while left and (piece := file.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece


def guest_spec(
    instance: Instance, *, root: "Disk", variables: Path | None = None, cache: Path, memory_mib: int
) -> "GuestSpec":
    """The guest that an instance is: `root`, under the name that it is to have, and new disks of its type. BuilderError
    when they cannot be made. Its memory is the type's, or `memory_mib` if that is less. `variables`: as Hvm has it."""
    from builder.machine import disks, qemu
    from builder.machine.guest import Disk, Firmware, GuestSpec, Hvm, classic_name

    record = instance.record
    loader = kernels.loader(record.get("KernelId", ""))
    store = [
        Disk(
            device=device or virtual,
            base=disks.blank(cache, kind, size_gb),
            serial=disks.store_serial(instance.id, number) if instance.hvm else "",
        )
        for number, (virtual, device, size_gb, kind) in enumerate(record["Disks"])
    ]
    hvm = None
    if instance.hvm:
        hvm = Hvm(
            firmware=Firmware(record["Firmware"]),
            instance_type=record["InstanceType"],
            nitro=record["Nitro"],
            variables=variables,
        )
    name = record["RootDeviceName"].removeprefix("/dev/") if hvm else root_disk(record["RootDeviceName"], loader)
    return GuestSpec(
        name=instance.id,
        memory_mib=min(record["MemoryMib"], memory_mib),
        vcpus=max(FASTEST_VCPUS, min(record["Vcpus"], qemu.processors())),
        disks=(replace(root, device=name), *store),
        mac=instance.mac,
        address=instance.private_address,
        hostname=classic_name(instance.private_address),
        domain=DOMAIN,
        loader=loader,
        hvm=hvm,
    )


def root_disk(root_device: str, loader: str) -> str:
    """The name under which the image is attached: a partition, or the whole disk that an hd00 loader reads."""
    name = root_device.removeprefix("/dev/")
    return name.rstrip("0123456789") if loader == "pv-grub-hd00" else name
