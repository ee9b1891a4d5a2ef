"""The volumes of instances: each what its snapshot held when it was made, and an overlay with what was written since.

The snapshot's file is linked, not copied: nobody writes to it, and the volume outlives the snapshot.
"""

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError
from builder.region.ec2.region import DiskOf
from builder.region.errors import ServiceError

if TYPE_CHECKING:
    from builder.machine.guest import Disk


@dataclass(frozen=True, slots=True)
class Volumes:
    """In a directory of their own, each under its id."""

    directory: Path

    def disk(self, volume: Mapping[str, Any], disk_of: DiskOf) -> "Disk":
        """A volume, made of its snapshot if it is new. BuilderError when that cannot be had."""
        from builder.machine.guest import Disk

        place = self.directory / volume["VolumeId"]
        base = place / "base.raw"
        if not base.exists():
            try:
                source = disk_of(volume["SnapshotId"])
            except ServiceError as error:
                raise BuilderError(error.message) from error
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.link(source, base)
        return Disk(
            device=volume["DeviceName"].removeprefix("/dev/"),
            base=base,
            size=volume["Size"] << 30,
            overlay=place / "written.qcow2",
            serial=volume["VolumeId"].replace("-", ""),
        )

    def variables(self, volume: Mapping[str, Any]) -> Path:
        """Where the UEFI variables of the instance with this root volume are kept."""
        return self.directory / str(volume["VolumeId"]) / "variables.fd"

    def remove(self, volume: Mapping[str, Any]) -> None:
        shutil.rmtree(self.directory / volume["VolumeId"], ignore_errors=True)

    def keep_only(self, volumes: Collection[str]) -> None:
        """Remove what no instance has any more."""
        if self.directory.is_dir():
            for each in self.directory.iterdir():
                if each.name not in volumes:
                    shutil.rmtree(each, ignore_errors=True)
