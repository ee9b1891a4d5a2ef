"""What a disk with partitions must be like for EC2's BIOS and UEFI to boot it: rules over facts, beside rules.py's.

Some take the place of a rule of the same name that is about PV-GRUB.
"""

from collections.abc import Iterator

from builder.errors import BuilderError
from builder.formats import bzimage, gpt, grub_image
from builder.formats.fstab import GROW, parse_fstab
from builder.formats.grub_cfg import parse_grub_cfg
from builder.host import zstd
from builder.stages.verify.disk_facts import EFI_PROGRAM, DiskFacts
from builder.stages.verify.facts import Facts
from builder.stages.verify.spec import DiskWanted, VerifySpec

Wrong = tuple[str, str, str]
ELF_CLASSES = {"x86_64": 64, "i386": 32}
_AGAIN = "build the image step again: ami-factory build RECIPE --rebuild image"
_SERIAL = "console=ttyS0"
_REPART = "/etc/repart.d/50-root.conf"


def partition_table(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Both copies of the partition table are whole, and the root is the last partition, so that it can grow."""
    disk = _disk(facts)
    if disk.table is None:
        yield "/dev", disk.problem, _AGAIN
        return
    root = disk.root
    if root is None or root.kind != gpt.ROOT[spec.architecture]:
        yield "/dev", f"no partition is the root of {spec.architecture}", _AGAIN
    elif root != max(disk.table.partitions, key=lambda each: each.first):
        yield "/dev", "the root is not the last partition, so it cannot grow with its volume", _AGAIN


def boot_loader(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The firmware that boot_mode names finds a boot loader."""
    disk, wanted = _disk(facts), _wanted(spec)
    if disk.table is None:
        return
    remedy = "see [hvm.packages] in kernels/NAME.toml, and build the image step again"
    if wanted.boot_mode != "uefi":
        bios = disk.of_kind(gpt.BIOS_BOOT)
        if bios is None or grub_image.core_sector_of(disk.boot_sector) != bios.first or not any(disk.boot_sector[:64]):
            yield "/dev", "the first sector does not load GRUB from a BIOS boot partition", remedy
        elif not grub_image.is_core(disk.core, bios.first):
            yield "/dev", "the BIOS boot partition does not hold GRUB's core.img", remedy
    if wanted.boot_mode != "legacy-bios":
        if disk.of_kind(gpt.EFI_SYSTEM) is None:
            yield "/dev", f"boot_mode is {wanted.boot_mode}, and there is no EFI system partition", remedy
        elif disk.efi != b"MZ":
            yield EFI_PROGRAM, "the EFI system partition holds no program for UEFI to start", remedy


def boot_menu(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """GRUB finds a menu whose chosen entry names the right root."""
    remedy = "let no script or file of the recipe write the boot menu"
    text = facts.text(spec.menu)
    if text is None:
        yield spec.menu, "there is no boot menu, and GRUB looks nowhere else", remedy
        return
    try:
        chosen = parse_grub_cfg(text).chosen
    except ValueError as error:
        yield spec.menu, str(error), remedy
        return
    root = _wanted(spec).root
    if chosen.uuid != root:
        yield spec.menu, f"it looks for the file system {chosen.uuid or 'of no UUID'}, and the root is {root}", remedy
    if f"root=UUID={root}" not in chosen.arguments.split():
        yield spec.menu, f"the kernel is not told root=UUID={root}", remedy
    if not chosen.initrd:
        yield spec.menu, "the chosen entry has no initrd", remedy


def root_uuid(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The root file system has the UUID by which all others look for it."""
    there, root = facts.superblock.get("Filesystem UUID", "none"), _wanted(spec).root
    if there != root:
        yield "/", f"its UUID is {there}, not {root}", _AGAIN


def kernel(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The menu's kernel is there, and it is one for this architecture."""
    path = _kernel_path(spec, facts)
    if not path:
        return
    found = facts.find(path)
    if found is None:
        yield path, "the boot menu names a kernel that is not there", "does a script of the recipe remove it?"
        return
    try:
        elf = bzimage.unpack_kernel(bzimage.parse_kernel(found.data), zstd=zstd.unpack)
    except BuilderError as error:
        yield path, error.brief, error.hint or "install the kernel package again"
        return
    if bzimage.elf_class(elf) != ELF_CLASSES[spec.architecture]:
        yield path, f"it is a kernel of {bzimage.elf_class(elf)} bits", f"install one for {spec.architecture}"


def serial_console(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """EC2 shows what the kernel says: get-console-output and the serial console are the first serial port."""
    try:
        arguments = parse_grub_cfg(facts.text(spec.menu) or "").chosen.arguments.split()
    except ValueError:
        return
    if not any(each.split(",")[0] == _SERIAL for each in arguments):
        yield spec.menu, f"the kernel is not told {_SERIAL}", "see hvm.command_line in kernels/NAME.toml"


def grows(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The root grows to the size of its volume."""
    if facts.find(_REPART) is None:
        yield (
            _REPART,
            "the root's partition would not grow to its volume",
            "let no script or file of the recipe remove it",
        )
    try:
        roots = [line for line in parse_fstab(facts.text("/etc/fstab") or "") if line.mount_point == "/"]
    except ValueError:
        return
    if not any(GROW in line.options.split(",") for line in roots):
        yield "/etc/fstab", "the root's file system would not grow to its partition", f"give it the option {GROW}"


def esp_uuid(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """What /etc/fstab mounts at /boot/efi is this disk's."""
    try:
        lines = parse_fstab(facts.text("/etc/fstab") or "")
    except ValueError:
        return
    there = f"UUID={_disk(facts).esp}"
    for line in lines:
        if line.mount_point == "/boot/efi" and line.device != there:
            yield "/etc/fstab", f"/boot/efi is {line.device}, and the EFI system partition {there}", _AGAIN


RULES = {
    "partition-table": partition_table,
    "boot-loader": boot_loader,
    "root-uuid": root_uuid,
    "esp-uuid": esp_uuid,
    "boot-menu": boot_menu,
    "kernel": kernel,
    "serial-console": serial_console,
    "grows": grows,
}


def _kernel_path(spec: VerifySpec, facts: Facts) -> str:
    try:
        return parse_grub_cfg(facts.text(spec.menu) or "").chosen.kernel
    except ValueError:
        return ""


def _disk(facts: Facts) -> DiskFacts:
    return facts.disk or DiskFacts(table=None, problem="the image is one file system, without partitions")


def _wanted(spec: VerifySpec) -> DiskWanted:
    assert spec.disk is not None, "these rules are for disks"
    return spec.disk
