"""Why a guest did not come up, read from its console. Pure.

The texts are those of SeaBIOS, OVMF, GRUB 2.06 (also as the PV-GRUB stand-in), Linux, initramfs-tools, dracut and
systemd; each was seen on a console here unless it says otherwise. The first cause on the console is the one: what
follows is its effect.
"""

import re
from dataclasses import dataclass

# ECMA-48 control sequences, as GRUB and systemd write them; and what is left of a line that was overwritten.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>78]|[\x00-\x08\x0b-\x1a\x7f]|\r(?=\n)")
_CONTEXT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What kept a guest from booting, the lines that say so, and what to do."""

    id: str
    brief: str
    lines: tuple[str, ...]
    remedy: str
    fatal: bool = True
    """Nothing more can come after it."""
    named: str = ""
    """The file or device that the lines name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    id: str
    pattern: str
    brief: str
    remedy: str
    fatal: bool = True


# In the order in which a boot meets them. Named groups of a pattern can stand in the brief.
_SIGNS = (
    _Sign(
        # SeaBIOS's was seen; OVMF's two were not seen yet.
        id="not-bootable",
        pattern=r"No bootable device\.|BdsDxe: No bootable option|UEFI Interactive Shell",
        brief="the firmware finds nothing on the disk that it could start",
        remedy="a BIOS wants boot code in the first sector, UEFI an EFI system partition with EFI/BOOT/BOOTX64.EFI",
    ),
    _Sign(
        id="kernel-format",
        pattern=r"error: .*not (?:a )?xen image",
        brief="the loader cannot read the kernel: not a Xen image that it can unpack",
        remedy="give it a gzip'd or plain kernel with Xen's PV entry (LZ4 and zstd payloads are not read)",
    ),
    _Sign(
        # What GRUB's reader of menu.lst says of any kernel that it could not take, there or not.
        id="kernel-not-loaded",
        pattern=r"error: couldn't load file (?P<name>/\S*[^\s.])",
        brief="the loader cannot load the kernel {name}: it is missing, or no Xen image that it can unpack",
        remedy="is it in the image? its payload must be plain or gzip (LZ4 and zstd are not read), with Xen's PV entry",
    ),
    _Sign(
        id="no-kernel",
        pattern=r"error: file [`'](?P<name>/[^']*(?:vmlinu|kernel|bzImage)[^']*)' not found",
        brief="the image has no kernel {name}, which its boot menu names",
        remedy="install the kernel, or correct /boot/grub/menu.lst",
    ),
    _Sign(
        id="no-initrd",
        pattern=r"error: file [`'](?P<name>/[^']*init[^']*)' not found",
        brief="the image has no initrd {name}, which its boot menu names",
        remedy="make the initrd, or correct /boot/grub/menu.lst",
    ),
    _Sign(
        id="no-menu",
        pattern=r"error: file [`'](?P<name>[^']*menu\.lst)' not found",
        brief="the image has no boot menu {name}",
        remedy="write /boot/grub/menu.lst",
    ),
    _Sign(
        id="no-file-system",
        pattern=r"error: (?:unknown filesystem|no such device|no such partition|disk [`'][^']*' not found)",
        brief="the loader finds no file system where the boot menu should be",
        remedy="pv-grub-hd0 wants an unpartitioned ext3 or ext4 image, pv-grub-hd00 a partitioned one",
    ),
    _Sign(
        id="loader",
        pattern=r"error: (?P<what>[^\n]*\S)",
        brief="the loader failed: {what}",
        remedy="see the console; the boot menu is /boot/grub/menu.lst, of an HVM image /boot/grub/grub.cfg",
        fatal=False,
    ),
    _Sign(
        id="wrong-root",
        pattern=r"ALERT!\s+(?P<name>\S+) does not exist|dracut\S*: Warning: (?P<other>/dev/\S+) does not exist",
        brief="the kernel was told a root device that is not there: {name}",
        remedy="correct root= in the boot menu: /boot/grub/menu.lst of pv (xvda1 for newer kernels, sda1 for xenU "
        "kernels), /boot/grub/grub.cfg of hvm",
    ),
    _Sign(
        id="no-root",
        pattern=r"VFS: Cannot open root device \"(?P<name>[^\"]*)\"",
        brief="the kernel finds no root device {name}",
        remedy="does the boot menu name an initrd, which holds the disk's driver (xen-blkfront)? is root= right?",
    ),
    _Sign(
        id="no-init",
        pattern=r"No init found|/sbin/init: not found|Requested init \S+ failed|can't execute '/sbin/init'"
        r"|Target filesystem doesn't have requested /sbin/init",
        brief="the image has no init that can be started",
        remedy="is the root tree whole, and of the kernel's architecture?",
    ),
    _Sign(
        id="kernel-panic",
        pattern=r"Kernel panic - not syncing: (?P<what>[^\n]*\S)",
        brief="the kernel panicked: {what}",
        remedy="see the lines before it on the console",
    ),
    _Sign(
        id="emergency-mode",
        pattern=r"You are in emergency mode|Entering emergency mode|Give root password for maintenance"
        r"|Cannot open access to console, the root account is locked|Reached target [^\n]*[Ee]mergency Mode",
        brief="the system went into emergency mode",
        remedy="is every line of /etc/fstab right? nofail keeps a missing disk from holding up the boot",
    ),
    _Sign(
        id="could-not-boot",
        pattern=r"PV-GRUB stand-in could not boot",
        brief="the image has no boot menu that the loader could read and boot from",
        remedy="is there a /boot/grub/menu.lst whose chosen entry names a kernel of the image?",
    ),
)
_MOUNT = re.compile(
    r"Failed to mount [^\n]*?(?P<mount>/\S*[^\s.])|Dependency failed for [^\n]*?(?P<dependent>/[^\s.]+)"
    r"|Timed out waiting for device [^\n]*?(?P<device>/dev/\S*[^\s.])"
)


def plain(console: str) -> str:
    """A console without colours, cursor movements and carriage returns."""
    return _CONTROL.sub("", console).replace("\r", "\n")


def cause_of(console: str) -> Cause | None:
    """The first thing on the console that explains why there is no login; None when nothing does."""
    text = plain(console)
    found = sorted(
        ((match.start(), number) for number, sign in enumerate(_SIGNS) if (match := re.search(sign.pattern, text)))
    )
    if not found:
        return None
    at, number = next(((at, number) for at, number in found if _SIGNS[number].fatal), found[0])
    sign = _SIGNS[number]
    match = re.compile(sign.pattern).search(text, at)
    assert match is not None
    if sign.id == "emergency-mode" and (mount := failed_mount(text)):
        return Cause(
            id="fstab",
            brief=f"the system went into emergency mode: {mount} of /etc/fstab could not be mounted",
            lines=(*_around(text, _MOUNT.search(text)), *_around(text, match))[-2 * _CONTEXT :],
            remedy=sign.remedy,
            named=mount,
        )
    named = {name: value for name, value in match.groupdict().items() if value}
    words = {"name": next(iter(named.values()), ""), **named}
    return Cause(
        id=sign.id,
        brief=sign.brief.format(**words),
        lines=_around(text, match),
        remedy=sign.remedy,
        fatal=sign.fatal,
        named=words["name"],
    )


def failed_mount(text: str) -> str:
    """The mount point or device that systemd gave up on first, "" for none."""
    match = _MOUNT.search(text)
    return next((value for value in match.groups() if value), "") if match else ""


def _around(text: str, match: "re.Match[str] | None") -> tuple[str, ...]:
    """The line of a match, and what was written just before it."""
    if match is None:
        return ()
    end = text.find("\n", match.end())
    lines = [line.strip() for line in text[: end if end >= 0 else len(text)].split("\n")]
    return tuple(line for line in lines if line)[-_CONTEXT:]
