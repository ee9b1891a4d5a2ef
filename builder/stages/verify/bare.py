"""An image without its recipe: the rules that hold of any image, by what the kernel's file and the image itself say."""

from builder.catalog.kernels import Architecture, Kernel
from builder.errors import RecipeError
from builder.formats import bzimage
from builder.formats.fstab import parse_fstab
from builder.formats.menu_lst import parse_menu
from builder.stages.verify.facts import Facts
from builder.stages.verify.rules import RULES, WARNINGS, Finding, filesystem_like, judge
from builder.stages.verify.spec import VerifySpec

# These two are about files that the factory itself puts into an image.
_OWN = {"network-enabled", "launch-key"}


def judge_bare(kernel: Kernel, facts: Facts) -> tuple[Finding, ...]:
    """What is wrong with an image that boots as `kernel` says."""
    return tuple(each for each in judge(assumed(kernel, facts), facts) if each.id not in _OWN)


def purpose(rule: str) -> str:
    """What a rule holds, in the first line of what it says of itself."""
    return ((RULES | WARNINGS)[rule].__doc__ or "").partition("\n")[0]


def assumed(kernel: Kernel, facts: Facts) -> VerifySpec:
    """What the image would have been built for: where only it can tell, it is right."""
    init = facts.find("/sbin/init")
    architecture: Architecture = "i386" if init is not None and bzimage.elf_class(init.data) == 32 else "x86_64"
    filesystem = filesystem_like(facts)
    return VerifySpec(
        architecture=architecture,
        fstab=facts.text("/etc/fstab") or "",
        menu=kernel.pv.menu,
        grub_root=kernel.pv.grub_root,
        root_device=_root_device(kernel, facts),
        modules=kernel.modules,
        payloads=kernel.pv.payloads,
        renderer="networkd",
        metadata_key=False,
        filesystem=filesystem,
        features=kernel.features("ext4" if filesystem == "ext4" else "ext3"),
        pv_note=kernel.pv.unsupported.get(architecture, ""),
    )


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


def hold_readable(head: bytes, where: str) -> None:
    """RecipeError unless the first 2 KiB are of an ext file system that fills the image."""
    if head[1080:1082] == b"\x53\xef":
        return
    what = "a disk with partitions" if head[510:512] == b"\x55\xaa" else "neither a manifest nor an ext3 or ext4 image"
    raise RecipeError(
        f"{where} is {what}",
        hint="verify looks into images that are one file system, as paravirtual instance store AMIs have them",
    )
