"""Which disk of the instance store an instance gets under which name. Pure.

Said by four, each over the one before: the classic places of the type's disks, the block device mapping of the bundle
manifest, that of the registered image, and that of RunInstances. A virtual device that the type does not have is
passed over in silence, as EC2 does it (EC2 User Guide, "Block device mappings"). A disk has one name and a name one
disk: what is said later takes both.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.catalog.instance_types import InstanceType
from builder.formats.manifest_grammar import DEVICE
from builder.region.errors import ServiceError

_STORE = re.compile(r"swap|ephemeral\d+")
_IMAGE = ("ami", "root")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedDisk:
    """A disk of the instance store where the instance finds it."""

    virtual: str
    device: str
    """Without /dev/: sda2; "" for NVMe, whose names are the kernel's own."""
    size_gb: int
    kind: str
    """What it holds when it is handed out: ext3, swap or none."""


def check_overrides(mappings: Sequence[Mapping[str, Any]]) -> None:
    """EC2's refusals for the block device mapping of a RunInstances call."""
    for each in mappings:
        device, virtual = each.get("DeviceName"), each.get("VirtualName")
        if not device:
            raise ServiceError("MissingParameter", "The request must contain the parameter DeviceName of each mapping")
        if DEVICE.fullmatch(str(device)) is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Invalid device name '{device}'")
        if virtual is None and each.get("NoDevice") is None and not each.get("Ebs"):
            raise ServiceError("InvalidBlockDeviceMapping", f"Device '{device}' is mapped to nothing")
        if virtual is not None and virtual not in _IMAGE and _STORE.fullmatch(virtual) is None:
            raise ServiceError("InvalidBlockDeviceMapping", f"Invalid virtual name '{virtual}'")
    names = [short(str(each["DeviceName"])) for each in mappings]
    for name in names:
        if names.count(name) > 1:
            raise ServiceError("InvalidBlockDeviceMapping", f"The device '{name}' is used in more than one mapping")


def short(device: str) -> str:
    """A device without /dev/, by its old name: xvdb is sdb."""
    return re.sub(r"^xvd(?=[a-z])", "sd", device.removeprefix("/dev/"))


def mapped(
    instance_type: InstanceType,
    *,
    root: str,
    manifest: Iterable[tuple[str, str]] = (),
    image: Iterable[Mapping[str, Any]] = (),
    wanted: Iterable[Mapping[str, Any]] = (),
    volumes: bool = False,
) -> tuple[MappedDisk, ...]:
    """The disks beside the root. `manifest` has pairs of virtual name and device; the others are EC2's mappings.
    `volumes`: the root is an EBS volume, and then only what is mapped is there; but NVMe disks always are."""
    known = {each.virtual: each for each in instance_type.disks}
    nvme = tuple(
        MappedDisk(virtual=each.virtual, device="", size_gb=each.size_gb, kind="none")
        for each in instance_type.disks
        if each.kind == "nvme"
    )
    if nvme:
        return nvme
    places = {short(each.device): each.virtual for each in instance_type.disks if each.device and not volumes}
    for virtual, device in manifest:
        _place(places, short(device), virtual)
    for each in (*image, *wanted):
        device = short(str(each["DeviceName"]))
        if each.get("NoDevice") is not None:
            places.pop(device, None)
        elif each.get("VirtualName"):
            _place(places, device, str(each["VirtualName"]))
    return tuple(
        MappedDisk(
            virtual=virtual,
            device=device,
            size_gb=known[virtual].size_gb,
            kind="none" if not known[virtual].formatted else "swap" if virtual == "swap" else "ext3",
        )
        for device, virtual in sorted(places.items())
        if virtual in known and device != short(root)
    )


def _place(places: dict[str, str], device: str, virtual: str) -> None:
    if _STORE.fullmatch(virtual) is None:
        return
    for other in [name for name, its in places.items() if its == virtual]:
        del places[other]
    places[device] = virtual
