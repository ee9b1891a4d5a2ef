"""What a bundle inherits from the instance that it is made on: pure, over what the metadata service says."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from builder.bundles.contract import Description
from builder.formats.manifest_grammar import DEVICE, IMAGE_IDS

_PRODUCT_CODE = re.compile(r"[A-Za-z0-9]{1,64}")
_VIRTUAL = re.compile(r"ami|root|swap|ephemeral[0-9]{1,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """Of the instance's own AMI and launch."""

    kernel_id: str = ""
    ramdisk_id: str = ""
    product_codes: tuple[str, ...] = ()
    ancestry: tuple[str, ...] = ()
    """The ancestors of the instance's AMI, then that AMI."""
    block_device_mapping: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()
    """What EC2 would not take in a manifest, such as a disk on /dev/xvdal or a volume; it is left out."""


def inherited(get: Callable[[str], str | None]) -> Inherited:
    """Ask `get` for each value by its path in the metadata; None is one that there is not."""
    refused: list[str] = []

    def listed(path: str, form: re.Pattern[str]) -> tuple[str, ...]:
        found = [each.strip() for each in (get(path) or "").splitlines() if each.strip()]
        refused.extend(f"{path} {each[:60]}" for each in found if form.fullmatch(each) is None)
        return tuple(dict.fromkeys(each for each in found if form.fullmatch(each)))

    def one(path: str, form: re.Pattern[str]) -> str:
        return next(iter(listed(path, form)), "")

    mapping = []
    for line in (get("block-device-mapping/") or "").splitlines():
        virtual = line.strip().rstrip("/")
        if not virtual:
            continue
        device = (get(f"block-device-mapping/{virtual}") or "").strip() if _VIRTUAL.fullmatch(virtual) else ""
        # "root" is the kernel's own name for the root device, and may be anything.
        if device and (virtual == "root" or DEVICE.fullmatch(device)):
            mapping.append((virtual, device))
        else:
            refused.append(f"block-device-mapping {virtual[:60]} {device[:60]}".rstrip())
    return Inherited(
        kernel_id=one("kernel-id", IMAGE_IDS["kernel"]),
        ramdisk_id=one("ramdisk-id", IMAGE_IDS["ramdisk"]),
        product_codes=listed("product-codes", _PRODUCT_CODE),
        ancestry=tuple(
            dict.fromkeys((*listed("ancestor-ami-ids", IMAGE_IDS["machine"]), *listed("ami-id", IMAGE_IDS["machine"])))
        ),
        block_device_mapping=tuple(sorted(mapping)),
        refused=tuple(refused),
    )


def with_inherited(said: Description, found: Inherited) -> Description:
    """What is said explicitly counts; the rest is the instance's."""
    return replace(
        said,
        kernel_id=said.kernel_id or found.kernel_id,
        ramdisk_id=said.ramdisk_id or found.ramdisk_id,
        product_codes=said.product_codes or found.product_codes,
        block_device_mapping=said.block_device_mapping or found.block_device_mapping,
        ancestry=said.ancestry or found.ancestry,
    )
