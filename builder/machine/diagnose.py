"""Why a guest did not come up: what its console says, and where that leaves a doubt, what its image holds."""

from dataclasses import replace
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.bzimage import parse_kernel
from builder.machine import image_files
from builder.machine.causes import Cause, cause_of


def diagnose(console: str, image: Path, scratch: Path) -> Cause | None:
    """As causes.cause_of; of a kernel that the loader could not take, whether it is there, and what it is."""
    found = cause_of(console)
    if found is None or found.id != "kernel-not-loaded":
        return found
    data = image_files.read(image, found.named, scratch)
    if data is None:
        return replace(
            found,
            id="no-kernel",
            brief=f"the image has no kernel {found.named}, which its boot menu names",
            remedy="install the kernel, or correct /boot/grub/menu.lst",
        )
    return replace(found, id="kernel-format", brief=f"the loader cannot take the kernel {found.named}: {_form(data)}")


def _form(data: bytes) -> str:
    try:
        kernel = parse_kernel(data)
    except BuilderError as error:
        return error.brief
    if kernel.compression in ("none", "gzip", "xz", "lzma"):
        return "it has no entry for Xen's paravirtual guests of this architecture"
    return f"its payload is {kernel.compression}, which PV-GRUB does not unpack"
