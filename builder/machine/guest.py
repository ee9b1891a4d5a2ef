"""A guest: what it is made of, and how Xen is told. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

LOADER = "pv-grub-hd0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of a guest's. What it writes goes to an overlay of its own; `base` is only ever read."""

    device: str
    """The name that EC2 gives it: sda1, sda2, sdb. Newer kernels say xvd for sd."""
    base: Path
    size: int = 0
    """Bytes; 0 for as many as `base` has. Beyond its end a disk reads as zeros."""
    overlay: Path | None = None
    """Where what it writes is kept when the guest has ended, for the next one that has it: a volume. None: nowhere."""
    serial: str = ""
    """As an NVMe or virtio disk tells it."""


class Firmware(StrEnum):
    """What starts an HVM guest."""

    BIOS = "bios"
    UEFI = "uefi"


def firmwares(boot_mode: str, *, nitro: bool) -> tuple[Firmware, ...]:
    """What may start an image: first what EC2 takes on such a type. Types that are not Nitro have no UEFI, and an image
    without a boot mode is started by the BIOS (EC2 User Guide, "Boot modes"). () for one that cannot be started."""
    if not nitro:
        return () if boot_mode == "uefi" else (Firmware.BIOS,)
    modes = {"uefi": (Firmware.UEFI,), "uefi-preferred": (Firmware.UEFI, Firmware.BIOS)}
    return modes.get(boot_mode, (Firmware.BIOS,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hvm:
    """A guest with firmware and a partitioned disk: none of Xen's."""

    firmware: Firmware
    instance_type: str
    """As its SMBIOS tables say it."""
    nitro: bool = True
    """Its disks are NVMe. Older types have Xen's disks, which QEMU does not have alone: virtio stands in for them."""
    variables: Path | None = None
    """Where the UEFI's variables are kept, as Disk.overlay. None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKernel:
    """A kernel that is not in the image: an AKI, perhaps with an ARI."""

    kernel: Path
    ramdisk: Path | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """Everything that decides a guest."""

    name: str
    memory_mib: int
    vcpus: int
    disks: tuple[Disk, ...]
    mac: str
    address: str
    hostname: str
    domain: str = "ec2.internal"
    loader: str = LOADER
    """pv-grub-hd0 or pv-grub-hd00 (a partitioned disk), unless `kernel` is given."""
    kernel: OwnKernel | None = None
    hvm: Hvm | None = None
    """None for a paravirtual guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a guest ended."""

    reason: str
    """poweroff, reboot, crash, watchdog, suspend, destroyed; failed: it never began; lost: its host ended."""
    detail: str = field(default="")
    """What Xen's tools said."""


def classic_name(address: str) -> str:
    """The host name that EC2 derived from a private address: ip-10-251-50-35."""
    return "ip-" + address.replace(".", "-")


def classic_mac(number: int) -> str:
    """A hardware address as EC2's classic network gave them out: 12:31:39 and three more bytes."""
    return "12:31:39:" + ":".join(f"{number >> shift & 255:02x}" for shift in (16, 8, 0))


def format_domain(spec: GuestSpec, *, slot: int, nodes: tuple[str, ...]) -> str:
    """xl.cfg(5). `nodes` are dom0's device nodes of the disks, in their order."""
    place = f"/run/guests/{slot}"
    kernel = [f'kernel = "/boot/{spec.loader}.bin"']
    if spec.kernel is not None:
        kernel = [f'kernel = "{place}/kernel"', f"extra = {quoted(spec.kernel.arguments)}"]
        kernel += [f'ramdisk = "{place}/ramdisk"'] if spec.kernel.ramdisk else []
    disks = (f"phy:{node},{disk.device},w" for node, disk in zip(nodes, spec.disks, strict=True))
    lines = [
        f'name = "g{slot}"',
        'type = "pv"',
        *kernel,
        f"memory = {spec.memory_mib}",
        f"vcpus = {spec.vcpus}",
        "disk = [" + ", ".join(f'"{each}"' for each in disks) + "]",
        f'vif = ["mac={spec.mac},script=vif,vifname=g{slot}"]',
        *(f'on_{event} = "destroy"' for event in ("poweroff", "reboot", "crash", "watchdog")),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A string of xl.cfg: in double quotes, without what would end them."""
    return '"' + "".join(each for each in text if each.isprintable() and each not in '"\\') + '"'
