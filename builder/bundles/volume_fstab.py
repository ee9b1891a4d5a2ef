"""The fstab of --generate-fstab: by architecture, as ec2-bundle-vol has it, from the catalog's facts.

Classic 32-bit instances are m1.small (the second disk on sda2, swap on sda3), 64-bit ones m1.large (sdb). Unlike the
original's, no line but the root's holds up the boot of an instance that lacks the disk.
"""

from builder.catalog.instance_types import instance_type
from builder.formats.fstab import Line, Naming, guest_name

_TYPES = {"i386": "m1.small", "x86_64": "m1.large"}
# Kernels and init systems of the time mount these by fstab; newer ones have done so already.
_OF_THE_KERNEL = (
    Line(device="none", mount_point="/dev/pts", filesystem="devpts", options="gid=5,mode=620"),
    Line(device="none", mount_point="/proc", filesystem="proc", options="defaults"),
    Line(device="none", mount_point="/sys", filesystem="sysfs", options="defaults"),
)


def generated_fstab(architecture: str, *, filesystem: str, naming: Naming) -> str:
    """The file's text."""
    root = guest_name("sda1", naming)
    lines = [Line(device=root, mount_point="/", filesystem=filesystem, options="defaults", dump=1, check=1)]
    for disk in instance_type(_TYPES[architecture]).disks:
        if not disk.formatted:
            continue
        device = guest_name(disk.device, naming)
        if disk.virtual == "swap":
            lines.append(Line(device=device, mount_point="none", filesystem="swap", options="sw,nofail"))
        else:
            lines.append(Line(device=device, mount_point="/mnt", filesystem="auto", options="defaults,nofail"))
    return "".join(f"{line}\n" for line in (*lines, *_OF_THE_KERNEL))
