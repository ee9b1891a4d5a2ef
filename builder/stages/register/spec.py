"""The `register` stage: find the AMI by its key tag, or create it."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class RootVolume:
    """The EBS volume that an instance gets as its root."""

    type: str = "gp3"
    size: int = 0
    """GiB; 0 for the snapshot's."""
    iops: int = 0
    """0 for EC2's default."""
    throughput: int = 0
    """MiB/s; 0 for EC2's default."""
    delete_on_termination: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSpec:
    """Input: `upload`, or `snapshot` where there is a `volume`.

    Result: `{"image_id": "ami-...", "name": ..., "location": ..., "found": bool}`. The step's own key travels as the
    tag `ami-factory:key` inside the RegisterImage call. What EC2 does not take together is in rules.py.
    """

    VERSION: ClassVar[int] = 1

    partition: str
    account: str
    region: str
    endpoint: str
    name: str
    description: str
    architecture: str
    virtualization: str
    """paravirtual or hvm"""
    kernel_id: str
    ramdisk_id: str
    root_device_name: str
    block_device_mappings: tuple[tuple[str, str], ...]
    """(device name, virtual name), such as ("/dev/sda2", "ephemeral0")."""
    tags: tuple[tuple[str, str], ...]
    volume: RootVolume | None = later(None)
    """Of an AMI that starts from EBS; None for the instance store."""
    ena: bool = later(False)
    sriov: str = later("")
    """ "simple", or nothing."""
    boot_mode: str = later("")
    """legacy-bios, uefi, uefi-preferred, or nothing: the instance type's own."""
    imds: str = later("")
    """ "v2.0": instances ask the metadata service with a token only; or nothing."""
    tpm: str = later("")
    """ "v2.0", or nothing."""
    uefi_data: str = later("")
    """The store of UEFI's variables, in base64."""
    billing_products: tuple[str, ...] = later(())
