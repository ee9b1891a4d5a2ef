"""DescribeInstanceTypes, from the catalogue. What the catalogue does not know of a type is not said."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from builder.catalog import instance_types
from builder.catalog.instance_types import InstanceType
from builder.errors import RecipeError
from builder.region.ec2.filters import matching
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError

VIRTUALIZATION = {"pv": "paravirtual", "hvm": "hvm"}
Values = Callable[[InstanceType], Iterable[str]]


def _word(value: bool) -> str:
    return str(value).lower()


def _nothing(type_: InstanceType) -> Iterable[str]:
    """The catalogue knows nothing of this, so that the filter lets no type through."""
    del type_
    return ()


# All that the API reference lists for DescribeInstanceTypes.
FILTERS: Mapping[str, Values] = {
    "bare-metal": lambda each: [_word(_bare(each))],
    "hypervisor": lambda each: ["xen"] if "pv" in each.virtualization else [],
    "instance-storage-info.disk.count": lambda each: [str(count) for count, _, _ in _disks(each)],
    "instance-storage-info.disk.size-in-gb": lambda each: [str(size) for _, size, _ in _disks(each)],
    "instance-storage-info.disk.type": lambda each: [kind for _, _, kind in _disks(each)],
    "instance-storage-info.nvme-support": lambda each: [_nvme(each)] if _disks(each) else [],
    "instance-storage-info.total-size-in-gb": lambda each: [str(_total(each))] if _disks(each) else [],
    "instance-storage-supported": lambda each: [_word(bool(_disks(each)))],
    "instance-type": lambda each: [each.name],
    "memory-info.size-in-mib": lambda each: [str(each.memory_mib)],
    "processor-info.supported-architecture": lambda each: each.architectures,
    "supported-root-device-type": lambda each: each.root_devices,
    "supported-virtualization-type": lambda each: [VIRTUALIZATION[word] for word in each.virtualization],
    "vcpu-info.default-vcpus": lambda each: [str(each.vcpus)],
    **dict.fromkeys(
        (
            "auto-recovery-supported",
            "burstable-performance-supported",
            "current-generation",
            "dedicated-hosts-supported",
            "ebs-info.attachment-limit-type",
            "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
            "ebs-info.ebs-optimized-info.baseline-iops",
            "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps",
            "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps",
            "ebs-info.ebs-optimized-info.maximum-iops",
            "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps",
            "ebs-info.ebs-optimized-support",
            "ebs-info.encryption-support",
            "ebs-info.maximum-ebs-attachments",
            "ebs-info.nvme-support",
            "free-tier-eligible",
            "hibernation-supported",
            "instance-storage-info.encryption-support",
            "network-info.bandwidth-weightings",
            "network-info.efa-info.maximum-efa-interfaces",
            "network-info.efa-supported",
            "network-info.ena-support",
            "network-info.encryption-in-transit-supported",
            "network-info.flexible-ena-queues-support",
            "network-info.ipv4-addresses-per-interface",
            "network-info.ipv6-addresses-per-interface",
            "network-info.ipv6-supported",
            "network-info.maximum-network-cards",
            "network-info.maximum-network-interfaces",
            "network-info.network-performance",
            "nitro-enclaves-support",
            "nitro-tpm-info.supported-versions",
            "nitro-tpm-support",
            "processor-info.supported-features",
            "processor-info.sustained-clock-speed-in-ghz",
            "reboot-migration-support",
            "supported-boot-mode",
            "supported-usage-class",
            "vcpu-info.default-cores",
            "vcpu-info.default-threads-per-core",
            "vcpu-info.valid-cores",
            "vcpu-info.valid-threads-per-core",
        ),
        _nothing,
    ),
}


def describe_instance_types(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    del region
    names = wanted.get("InstanceTypes") or ()
    if len(names) > 100:
        raise ServiceError("InvalidParameterValue", "The maximum number of instance types on a single call is 100")
    if names and wanted.get("MaxResults") is not None:
        raise ServiceError(
            "InvalidParameterCombination", "The parameter instanceTypes cannot be used with the parameter maxResults"
        )
    chosen = _named(names) if names else _all()
    found = matching(chosen, wanted.get("Filters") or (), FILTERS)
    # Without MaxResults EC2 answers with 100 at most, too.
    shown, token = page(found, {"MaxResults": 100, **wanted}, lambda each: each.name, least=5, most=100)
    return {"InstanceTypes": [described(each) for each in shown], **token}


def _named(names: Iterable[str]) -> list[InstanceType]:
    """In the order of the catalogue. All that are missing are named, as EC2 does."""
    found: list[InstanceType] = []
    missing: list[str] = []
    for each in sorted(set(names)):
        try:
            found.append(instance_types.instance_type(each))
        except RecipeError:
            missing.append(each)
    if missing:
        raise ServiceError(
            "InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(missing)}]"
        )
    return found


@cache
def _all() -> tuple[InstanceType, ...]:
    return tuple(instance_types.instance_type(each) for each in instance_types.names())


def described(type_: InstanceType) -> dict[str, Any]:
    """As DescribeInstanceTypes has it."""
    disks = _disks(type_)
    storage = {
        "TotalSizeInGB": _total(type_),
        "Disks": [{"SizeInGB": size, "Count": count, "Type": kind} for count, size, kind in disks],
        "NvmeSupport": _nvme(type_),
    }
    return {
        "InstanceType": type_.name,
        "SupportedRootDeviceTypes": list(type_.root_devices),
        "SupportedVirtualizationTypes": [VIRTUALIZATION[each] for each in type_.virtualization],
        "BareMetal": _bare(type_),
        **({"Hypervisor": "xen"} if "pv" in type_.virtualization else {}),
        "ProcessorInfo": {"SupportedArchitectures": list(type_.architectures)},
        "VCpuInfo": {"DefaultVCpus": type_.vcpus},
        "MemoryInfo": {"SizeInMiB": type_.memory_mib},
        "InstanceStorageSupported": bool(disks),
        **({"InstanceStorageInfo": storage} if disks else {}),
    }


def _disks(type_: InstanceType) -> list[tuple[int, int, str]]:
    """How many disks there are of which size and kind. The swap of m1.small is not among them, nor is it EC2's."""
    sizes = [
        (disk.size_gb, "ssd" if disk.kind == "nvme" else disk.kind) for disk in type_.disks if disk.virtual != "swap"
    ]
    return [(len(list(same)), size, kind) for (size, kind), same in groupby(sizes)]


def _total(type_: InstanceType) -> int:
    return sum(count * size for count, size, _ in _disks(type_))


def _nvme(type_: InstanceType) -> str:
    return "required" if any(disk.kind == "nvme" for disk in type_.disks) else "unsupported"


def _bare(type_: InstanceType) -> bool:
    return ".metal" in type_.name
