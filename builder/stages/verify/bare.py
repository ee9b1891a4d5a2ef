"""An image without its recipe: the rules that hold of any image, by what the kernel's file and the image itself say."""

from builder.catalog.kernels import Architecture, Kernel
from builder.errors import RecipeError
from builder.formats import bzimage, gpt
from builder.formats.fstab import parse_fstab
from builder.formats.menu_lst import parse_menu
from builder.stages.verify import disk_rules
from builder.stages.verify.facts import Facts
from builder.stages.verify.rules import RULES, WARNINGS, Finding, filesystem_like, judge
from builder.stages.verify.spec import DiskWanted, VerifySpec

# These are about files that the factory itself puts into an image.
_OWN = {"network-enabled", "launch-key", "grows"}


def judge_bare(kernel: Kernel, facts: Facts) -> tuple[Finding, ...]:
    """What is wrong with an image that boots as `kernel` says."""
    return tuple(each for each in judge(assumed(kernel, facts), facts) if each.id not in _OWN)


def purpose(rule: str) -> str:
    """What a rule holds, in the first line of what it says of itself."""
    return ((RULES | WARNINGS | disk_rules.RULES)[rule].__doc__ or "").partition("\n")[0]


def assumed(kernel: Kernel, facts: Facts) -> VerifySpec:
    """What the image would have been built for: where only it can tell, it is right."""
    init = facts.find("/sbin/init")
    architecture: Architecture = "i386" if init is not None and bzimage.elf_class(init.data) == 32 else "x86_64"
    filesystem = filesystem_like(facts)
    disk = _disk(facts)
    return VerifySpec(
        architecture=architecture,
        fstab=facts.text("/etc/fstab") or "",
        menu=kernel.hvm.menu if disk else kernel.pv.menu,
        grub_root="" if disk else kernel.pv.grub_root,
        root_device=f"UUID={disk.root}" if disk else _root_device(kernel, facts),
        modules=kernel.hvm.modules if disk else kernel.modules,
        payloads=() if disk else kernel.pv.payloads,
        renderer="networkd",
        metadata_key=False,
        filesystem=filesystem,
        features=kernel.features("ext4" if filesystem == "ext4" else "ext3", "hvm" if disk else "pv"),
        pv_note="" if disk else kernel.pv.unsupported.get(architecture, ""),
        disk=disk,
    )


def _disk(facts: Facts) -> DiskWanted | None:
    """Each firmware for which the disk has a partition is to find its boot loader."""
    if facts.disk is None:
        return None
    bios, efi = facts.disk.of_kind(gpt.BIOS_BOOT), facts.disk.of_kind(gpt.EFI_SYSTEM)
    mode = "uefi-preferred" if bios and efi else "uefi" if efi else "legacy-bios"
    return DiskWanted(boot_mode=mode, root=facts.superblock.get("Filesystem UUID", ""))


def _root_device(kernel: Kernel, facts: Facts) -> str:
    """The one that the boot menu tells the kernel; /etc/fstab must name the same."""
    try:
        arguments = parse_menu(facts.text(kernel.pv.menu) or "").chosen.arguments.split()
    except ValueError:
        arguments = []
    told = [each.removeprefix("root=") for each in arguments if each.startswith("root=")]
    try:
        listed = [line.device for line in parse_fstab(facts.text("/etc/fstab") or "") if line.mount_point == "/"]
    except ValueError:
        listed = []
    return next(iter(told + listed), "")


def is_disk(head: bytes, where: str) -> bool:
    """Whether an image, by its first 2 KiB, is a disk with a GPT; RecipeError if it is no ext file system either."""
    if gpt.begins(head):
        return True
    if head[1080:1082] == b"\x53\xef":
        return False
    mbr = head[510:512] == b"\x55\xaa"
    what = "a disk without a GPT" if mbr else "neither a manifest nor an image of a disk, of ext3 or of ext4"
    raise RecipeError(
        f"{where} is {what}",
        hint="verify looks into images that are one file system, as paravirtual instance store AMIs have them, and "
        "into disks with a GPT, as HVM AMIs have them",
    )
