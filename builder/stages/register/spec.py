"""The `register` stage: find the AMI by its key tag, or create it."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSpec:
    """Input: `upload`. Result: `{"image_id": "ami-...", "name": ..., "location": ..., "found": bool}`.

    The step's own key travels as the tag `ami-factory:key` inside the RegisterImage call.
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
    kernel_id: str
    ramdisk_id: str
    root_device_name: str
    block_device_mappings: tuple[tuple[str, str], ...]
    """(device name, virtual name), such as ("/dev/sda2", "ephemeral0")."""
    tags: tuple[tuple[str, str], ...]
