"""What EC2 says of the fields of RegisterImage, alone and together: seen before anything is sent. Pure.

Each rule names the place where EC2 says it: the API reference is that of 2016-11-15, as botocore's model quotes it.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from builder.errors import RecipeError
from builder.stages.register.spec import RegisterSpec, RootVolume

API = "EC2 API reference, RegisterImage"
EBS_API = "EC2 API reference, EbsBlockDevice"
_VOLUME_API = "EC2 API reference, CreateVolume"
_BOOT_MODES = "EC2 User Guide, Instance launch behavior with Amazon EC2 boot modes"
_NITRO_TPM = "EC2 User Guide, Requirements for using NitroTPM"
_TYPES = "EBS User Guide, Amazon EBS volume types"
_NAMES = "EC2 User Guide, Device names for volumes"
_VIRTUALIZATION = "EC2 User Guide, Linux AMI virtualization types"

NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
_DEVICE = re.compile(r"(/dev/)?(sd[a-z]{1,2}[0-9]{0,2}|xvd[a-z]{1,2}[0-9]{0,2})")
_EPHEMERAL = re.compile(r"ephemeral(1?[0-9]|2[0-3])")
_PV_ARCHITECTURES = ("i386", "x86_64")
_ARCHITECTURES = (*_PV_ARCHITECTURES, "arm64", "x86_64_mac", "arm64_mac")
_SIZES = {"gp2": (1, 16384), "gp3": (1, 65536), "io1": (4, 16384), "io2": (4, 65536), "standard": (1, 1024)}
_IOPS = {"gp3": (3000, 80000), "io1": (100, 64000), "io2": (100, 256000)}
_IOPS_PER_GIB = {"gp3": 500, "io1": 50, "io2": 1000}
_THROUGHPUT = (125, 2000)
_MOST_UEFI_DATA = 64000
_MOST_TAGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What EC2 would not take."""

    field: str
    """Of RegisterImage, dotted."""
    what: str
    rule: str
    """Where EC2 says so."""

    def __str__(self) -> str:
        return f"{self.field}: {self.what} ({self.rule})"


def faults(spec: RegisterSpec, *, snapshot_size: int = 0) -> tuple[Fault, ...]:
    """All that EC2 would refuse, or take and then fail to start. `snapshot_size` (GiB) is 0 while it is not known."""
    found = [each for rule in _RULES for each in rule(spec)]
    if spec.volume is not None:
        found += _volume(spec.volume, snapshot_size)
    return tuple(found)


def refuse(spec: RegisterSpec, *, snapshot_size: int = 0) -> None:
    """RecipeError with all faults, if there are any."""
    found = faults(spec, snapshot_size=snapshot_size)
    if found:
        raise RecipeError(
            f"EC2 would not register {spec.name}: {found[0].field}: {found[0].what}",
            detail="\n".join(map(str, found)),
            hint="correct [register] or [volume] in the recipe",
        )


def _words(spec: RegisterSpec) -> Iterator[Fault]:
    if NAME.fullmatch(spec.name) is None:
        what = "3 to 128 letters, digits, spaces and ()[]./-'@_"
        yield Fault(field="Name", what=f'"{spec.name}" is not {what}', rule=API)
    if len(spec.description) > 255:
        yield Fault(field="Description", what=f"it has {len(spec.description)} characters, of 255", rule=API)
    given = (
        ("VirtualizationType", spec.virtualization, ("hvm", "paravirtual")),
        ("Architecture", spec.architecture, _ARCHITECTURES),
        ("BootMode", spec.boot_mode, ("", "legacy-bios", "uefi", "uefi-preferred")),
        ("ImdsSupport", spec.imds, ("", "v2.0")),
        ("TpmSupport", spec.tpm, ("", "v2.0")),
        ("SriovNetSupport", spec.sriov, ("", "simple")),
    )
    for field, value, known in given:
        if value not in known:
            yield Fault(field=field, what=f'"{value}" is none of {", ".join(filter(None, known))}', rule=API)
    if len(spec.tags) > _MOST_TAGS - 2:
        what = f"{len(spec.tags)} tags, and with Name and the factory's own there may be {_MOST_TAGS}"
        yield Fault(field="TagSpecifications", what=what, rule="EC2 User Guide, Tag restrictions")
    for key, _ in spec.tags:
        if key.lower().startswith("aws:"):
            what = f'the tag "{key}" begins with aws:, which is AWS\'s own'
            yield Fault(field="TagSpecifications", what=what, rule="EC2 User Guide, Tag restrictions")


def _paravirtual(spec: RegisterSpec) -> Iterator[Fault]:
    if spec.virtualization != "paravirtual":
        return
    for field, given in (("EnaSupport", spec.ena), ("SriovNetSupport", spec.sriov)):
        if given:
            yield Fault(field=field, what="it is supported for HVM only", rule=API)
    for field, given in (("BootMode", spec.boot_mode), ("TpmSupport", spec.tpm), ("UefiData", spec.uefi_data)):
        if given:
            yield Fault(field=field, what="a paravirtual guest has no firmware", rule=_VIRTUALIZATION)
    if spec.architecture in _ARCHITECTURES and spec.architecture not in _PV_ARCHITECTURES:
        what = f"paravirtual guests are i386 or x86_64, not {spec.architecture}"
        yield Fault(field="Architecture", what=what, rule=_VIRTUALIZATION)


def _hvm(spec: RegisterSpec) -> Iterator[Fault]:
    if spec.virtualization == "hvm":
        for field, given in (("KernelId", spec.kernel_id), ("RamdiskId", spec.ramdisk_id)):
            if given:
                what = "an HVM guest boots from its own disk, and takes no kernel or RAM disk image"
                yield Fault(field=field, what=what, rule=_VIRTUALIZATION)


def _firmware(spec: RegisterSpec) -> Iterator[Fault]:
    if spec.tpm and spec.boot_mode != "uefi":
        what = f"a TPM needs the boot mode uefi, not {spec.boot_mode or 'that of the instance type'}"
        yield Fault(field="TpmSupport", what=what, rule=_NITRO_TPM)
    if spec.uefi_data:
        if spec.boot_mode not in ("uefi", "uefi-preferred"):
            what = f"it is of use with UEFI only, not {spec.boot_mode or 'the boot mode of the instance type'}"
            yield Fault(field="UefiData", what=what, rule=_BOOT_MODES)
        if len(spec.uefi_data) > _MOST_UEFI_DATA:
            what = f"it has {len(spec.uefi_data)} characters, of {_MOST_UEFI_DATA}"
            yield Fault(field="UefiData", what=what, rule=API)
        if not _is_base64(spec.uefi_data):
            yield Fault(field="UefiData", what="it is not base64", rule=API)
    if spec.architecture.startswith("arm64") and spec.boot_mode == "legacy-bios":
        yield Fault(field="BootMode", what="instances of arm64 have UEFI only", rule=_BOOT_MODES)


def _root(spec: RegisterSpec) -> Iterator[Fault]:
    if spec.volume is None:
        for field, given in (("BootMode", spec.boot_mode), ("TpmSupport", spec.tpm), ("UefiData", spec.uefi_data)):
            if given and spec.virtualization == "hvm":
                what = "it is for instances of the Nitro system, which start from EBS only"
                yield Fault(field=field, what=what, rule=_BOOT_MODES)
    elif not spec.root_device_name:
        what = "an AMI that starts from EBS has to say which device its snapshot is for"
        yield Fault(field="RootDeviceName", what=what, rule=API)
    for code in spec.billing_products:
        if not code.startswith("bp-"):
            yield Fault(field="BillingProducts", what=f'"{code}" is no billing product code (bp-...)', rule=API)


def _devices(spec: RegisterSpec) -> Iterator[Fault]:
    field = "BlockDeviceMappings.DeviceName"
    named = [device for device, _ in spec.block_device_mappings]
    if spec.volume is not None:
        named.insert(0, spec.root_device_name)
    if spec.root_device_name and _DEVICE.fullmatch(spec.root_device_name) is None:
        yield Fault(field="RootDeviceName", what=f'"{spec.root_device_name}" is no device of EC2', rule=_NAMES)
    for device, virtual in spec.block_device_mappings:
        if _DEVICE.fullmatch(device) is None:
            yield Fault(field=field, what=f'"{device}" is no device of EC2', rule=_NAMES)
        if _EPHEMERAL.fullmatch(virtual) is None:
            what = f'"{virtual}" is none of ephemeral0 to ephemeral23'
            yield Fault(
                field="BlockDeviceMappings.VirtualName", what=what, rule="EC2 API reference, BlockDeviceMapping"
            )
    for device in sorted({each for each in named if named.count(each) > 1}):
        yield Fault(field=field, what=f"{device} is mapped twice", rule="EC2 API reference, BlockDeviceMapping")


def _volume(volume: RootVolume, snapshot_size: int) -> Iterator[Fault]:
    place, kind, size = "BlockDeviceMappings.Ebs", volume.type, volume.size or snapshot_size
    if kind in ("st1", "sc1"):
        yield Fault(field=f"{place}.VolumeType", what=f"{kind} cannot be a root volume", rule=_TYPES)
        return
    if kind not in _SIZES:
        what = f'"{kind}" is none of {", ".join(_SIZES)}'
        yield Fault(field=f"{place}.VolumeType", what=what, rule=EBS_API)
        return
    least, most = _SIZES[kind]
    if size and not least <= size <= most:
        yield Fault(field=f"{place}.VolumeSize", what=f"{kind} has {least} to {most} GiB, not {size}", rule=EBS_API)
    if snapshot_size and volume.size and volume.size < snapshot_size:
        what = f"{volume.size} GiB are less than the {snapshot_size} GiB of the snapshot"
        yield Fault(field=f"{place}.VolumeSize", what=what, rule=EBS_API)
    yield from _iops(volume, size, f"{place}.Iops")
    if volume.throughput:
        yield from _throughput(volume, f"{place}.Throughput")


def _iops(volume: RootVolume, size: int, field: str) -> Iterator[Fault]:
    kind = volume.type
    if not volume.iops:
        if kind in ("io1", "io2"):
            yield Fault(field=field, what=f"{kind} needs it", rule=EBS_API)
        return
    if kind not in _IOPS:
        yield Fault(field=field, what=f"it is not supported for {kind}", rule=_VOLUME_API)
        return
    least, most = _IOPS[kind]
    if not least <= volume.iops <= most:
        yield Fault(field=field, what=f"{kind} has {least} to {most}, not {volume.iops}", rule=EBS_API)
    elif size and volume.iops > max(size * _IOPS_PER_GIB[kind], least):
        what = f"{kind} has up to {_IOPS_PER_GIB[kind]} for each GiB, and {volume.iops} for {size} GiB are more"
        yield Fault(field=field, what=what, rule=_TYPES)


def _throughput(volume: RootVolume, field: str) -> Iterator[Fault]:
    least, most = _THROUGHPUT
    if volume.type != "gp3":
        yield Fault(field=field, what=f"it is for gp3 only, not for {volume.type}", rule=EBS_API)
    elif not least <= volume.throughput <= most:
        yield Fault(field=field, what=f"gp3 has {least} to {most} MiB/s, not {volume.throughput}", rule=EBS_API)
    elif volume.throughput * 4 > (volume.iops or _IOPS["gp3"][0]):
        what = f"{volume.throughput} MiB/s need {volume.throughput * 4} IOPS: gp3 has 0.25 MiB/s for each"
        yield Fault(field=field, what=what, rule=_TYPES)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


_RULES: tuple[Callable[[RegisterSpec], Iterator[Fault]], ...] = (_words, _paravirtual, _hvm, _firmware, _root, _devices)
