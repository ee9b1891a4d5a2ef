"""What is proved by booting, and the record of it. Pure."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from builder.canonical import to_plain
from builder.catalog.instance_types import InstanceType
from builder.errors import RecipeError
from builder.machine.causes import Cause
from builder.machine.checks import Check
from builder.machine.guest import Disk, Firmware, firmwares


class Level(StrEnum):
    """How much is proved."""

    DIRECT = "direct"
    LOGIN = "login"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class HvmSubject:
    """What an HVM image is booted with."""

    firmwares: tuple[Firmware, ...]
    """That EC2 may start it with, first what it takes on this type."""
    nitro: bool
    volume: int
    """Bytes of the root volume, to which the root is to grow."""

    def chosen(self, level: Level) -> tuple[Firmware, ...]:
        """What it is booted with at a level: all of them, but for `direct`, which takes what is sooner done."""
        if level is Level.DIRECT and Firmware.BIOS in self.firmwares:
            return (Firmware.BIOS,)
        return self.firmwares


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is booted, and as what."""

    image: Path
    architecture: str
    instance_type: str
    disks: tuple[Disk, ...]
    """Those of the instance type, besides the root."""
    root_device: str = "sda1"
    loader: str = "pv-grub-hd0"
    memory_mib: int = 512
    vcpus: int = 2
    injected: tuple[str, ...] = ()
    """Public keys that the image lets in as root."""
    metadata_key: bool = True
    """The image fetches the key that an instance is launched with."""
    token_required: bool = False
    """Of the metadata service: IMDSv2 only."""
    hvm: HvmSubject | None = None
    """None for a paravirtual image."""

    @property
    def root_partition(self) -> str:
        """What the metadata service calls the root of a paravirtual guest: sda1, if the image has partitions too."""
        return self.root_device + ("" if self.hvm or self.root_device[-1].isdigit() else "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was seen."""

    level: Level
    instance_type: str
    seconds: tuple[tuple[str, float], ...]
    """Phase, and seconds since the beginning."""
    checks: tuple[Check, ...]
    cause: Cause | None = None
    why: str = ""
    """One line; "" when all holds."""
    requests: tuple[str, ...] = field(default=(), repr=False)
    """What the metadata service was asked."""

    @property
    def holds(self) -> bool:
        return not self.why and all(each.holds for each in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not hold, a line each."""
        return (*((self.why,) if self.why else ()), *(f"{each.id}: {each.says}" for each in self.broken))

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(each for each in self.checks if not each.holds)

    def document(self) -> str:
        """The result record, as JSON."""
        plain = {
            "format": 1,
            "level": self.level.value,
            "instance_type": self.instance_type,
            "holds": self.holds,
            "why": self.why,
            "milliseconds": {name: int(seconds * 1000) for name, seconds in self.seconds},
            "checks": to_plain(self.checks),
            "cause": to_plain(self.cause),
        }
        return json.dumps(plain, indent=1) + "\n"


def guest_memory(kind: InstanceType, limit: int = 512) -> int:
    """MiB that a guest of a type is given here: all of an instance type's would be wasted on a look at it."""
    return min(limit, kind.memory_mib)


def hvm_subject(kind: InstanceType, *, boot_mode: str, volume: int) -> HvmSubject:
    """An HVM image on a type, as EC2 would start it. RecipeError when it would not."""
    if "hvm" not in kind.virtualization:
        raise RecipeError(f"{kind.name} starts paravirtual images only", hint="choose another type: --instance-type")
    found = firmwares(boot_mode, nitro=kind.nitro)
    if not found:
        raise RecipeError(f"{kind.name} has no UEFI, and the image boots by nothing else", hint="choose a newer type")
    return HvmSubject(firmwares=found, nitro=kind.nitro, volume=volume)
