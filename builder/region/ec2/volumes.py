"""EBS volumes in an image's block device mapping: EC2's limits for each type, and what is taken when nothing is said.

Sizes, IOPS and throughput are those that the API reference lists for EbsBlockDevice; the ratios of IOPS to size those
of the EBS User Guide, "Amazon EBS volume types".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.region.ebs.record import Snapshot
from builder.region.ec2.region import Region
from builder.region.ec2.snapshots.describe import find_snapshot
from builder.region.errors import ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A volume type."""

    sizes: tuple[int, int]
    """The smallest and largest, in GiB."""
    iops: tuple[int, int] | None = None
    """The fewest and most that can be asked for; None: they cannot be."""
    ratio: int = 0
    """The most IOPS for a GiB, above the fewest."""
    default_iops: int = 0
    """0: it must be said."""
    throughput: tuple[int, int] | None = None
    """MiB/s."""


KINDS: Mapping[str, Kind] = {
    "standard": Kind(sizes=(1, 1024)),
    "gp2": Kind(sizes=(1, 16_384)),
    "gp3": Kind(sizes=(1, 65_536), iops=(3000, 80_000), ratio=500, default_iops=3000, throughput=(125, 2000)),
    "io1": Kind(sizes=(4, 16_384), iops=(100, 64_000), ratio=50),
    "io2": Kind(sizes=(4, 65_536), iops=(100, 256_000), ratio=1000),
    "st1": Kind(sizes=(125, 16_384)),
    "sc1": Kind(sizes=(125, 16_384)),
}
DEFAULT_KIND = "standard"
IOPS_FOR_A_MIB = 4
"""What throughput needs: 0.25 MiB/s for each IOPS."""
# RunInstances takes these; RegisterImage does not.
_FOREIGN = ("KmsKeyId", "OutpostArn", "VolumeInitializationRate", "EbsCardIndex")


def checked_volume(region: Region, device: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The `Ebs` of a mapping as DescribeImages has it, or EC2's refusal."""
    for member in (*_FOREIGN, "AvailabilityZone", "AvailabilityZoneId"):
        if wanted.get(member) is not None:
            raise ServiceError("InvalidParameterCombination", f"{member} is not for the volumes of an image")
    source = _snapshot(region, device, wanted)
    if source is not None and wanted.get("Encrypted") is not None:
        raise ServiceError(
            "InvalidBlockDeviceMapping",
            f"the encrypted flag cannot be specified since device {device} has a snapshot specified.",
        )
    size = _size(device, wanted, source)
    name = str(wanted.get("VolumeType") or DEFAULT_KIND)
    if name not in KINDS:
        raise ServiceError("InvalidParameterValue", f"Value ({name}) for parameter volumeType is invalid.")
    least, most = KINDS[name].sizes
    if not least <= size <= most:
        raise ServiceError(
            "InvalidParameterValue",
            f"Volume of {size}GiB is too {'small' if size < least else 'large'} for volume type {name}; "
            f"{'minimum' if size < least else 'maximum'} is {least if size < least else most}GiB.",
        )
    encrypted = bool(source.row["encrypted"]) if source is not None else bool(wanted.get("Encrypted"))
    return {
        "DeleteOnTermination": wanted.get("DeleteOnTermination", True),
        **({"SnapshotId": source.id} if source is not None else {}),
        "VolumeSize": size,
        "VolumeType": name,
        **_speed(wanted, name, size),
        "Encrypted": encrypted,
    }


def _snapshot(region: Region, device: str, wanted: Mapping[str, Any]) -> Snapshot | None:
    name = wanted.get("SnapshotId")
    if not name and not wanted.get("VolumeSize"):
        raise ServiceError(
            "InvalidBlockDeviceMapping", f"Either snapshot ID or volume size must be provided for: {device}"
        )
    if not name:
        return None
    found = find_snapshot(region, name)
    if found.standing().state != "completed":
        raise ServiceError("IncorrectState", f"Snapshot '{name}' is not 'completed'.")
    return found


def _size(device: str, wanted: Mapping[str, Any], source: Snapshot | None) -> int:
    size = wanted.get("VolumeSize")
    if size is None:
        assert source is not None
        return source.volume_size
    if size < 1:
        raise ServiceError("InvalidBlockDeviceMapping", f"Volume size {size} of {device} is not a number of GiB")
    if source is not None and size < source.volume_size:
        raise ServiceError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{source.id}', expect size >= {source.volume_size}GB",
        )
    return int(size)


def _speed(wanted: Mapping[str, Any], name: str, size: int) -> dict[str, int]:
    """IOPS and throughput, of the types that have them."""
    kind, iops, throughput = KINDS[name], wanted.get("Iops"), wanted.get("Throughput")
    if iops is not None and kind.iops is None:
        raise ServiceError("InvalidParameterCombination", f"The parameter iops is not supported for {name} volumes.")
    if throughput is not None and kind.throughput is None:
        raise ServiceError(
            "InvalidParameterCombination", f"The parameter throughput is not supported for {name} volumes."
        )
    if kind.iops is None:
        return {}
    if iops is None and not kind.default_iops:
        raise ServiceError("MissingParameter", f"The parameter iops must be specified for {name} volumes.")
    iops = iops if iops is not None else kind.default_iops
    _between("iops", iops, kind.iops)
    if iops > max(kind.iops[0], size * kind.ratio):
        raise ServiceError(
            "InvalidParameterValue",
            f"Iops to volume size ratio of {iops / size:.6f} is too high; maximum is {kind.ratio} IOPS per GiB.",
        )
    if kind.throughput is None:
        return {"Iops": iops}
    throughput = throughput if throughput is not None else kind.throughput[0]
    _between("throughput", throughput, kind.throughput)
    if throughput * IOPS_FOR_A_MIB > iops:
        raise ServiceError(
            "InvalidParameterValue",
            f"Throughput (MiBps) to iops ratio of {throughput / iops:.6f} is too high; maximum is 0.250000 MiBps per "
            "iops.",
        )
    return {"Iops": iops, "Throughput": throughput}


def _between(what: str, value: int, bounds: tuple[int, int]) -> None:
    least, most = bounds
    if value < least:
        raise ServiceError("InvalidParameterValue", f"Volume {what} of {value} is too low; minimum is {least}.")
    if value > most:
        raise ServiceError("InvalidParameterValue", f"Volume {what} of {value} is too high; maximum is {most}.")
