"""Which operating system is on a disk, and which of its file systems is mounted where: asked of a started appliance.

libguestfs's own inspection does more than is needed here (Windows, releases, augeas), and takes several times the
appliance's own start where there is no KVM.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from builder.errors import BuilderError
from builder.formats.fstab import Line, parse_fstab

HINT = "give an image of one Linux system, on a plain partition, on LVM, or on no partition at all"
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_LARGEST_FSTAB = 65536
# What holds no files, or those of an old disk's boot loader, or another kind of system.
_NO_ROOT = ("swap", "unknown", "crypto_LUKS", "vfat", "LVM2_member", "linux_raid_member", "ntfs", "iso9660", "squashfs")
_BOOT_LOADERS = ("/boot/efi", "/efi", "/boot/esp")
# What a system keeps elsewhere for its own reasons; mounted they would hide nothing of it, and hold what is not it.
_NOT_OF_THE_TREE = ("/proc", "/sys", "/dev", "/run", "/tmp", "/mnt", "/media")
_DISKS = ("/dev/sd", "/dev/xvd", "/dev/vd", "/dev/hd", "/dev/nvme")


def find_mounts(handle: Any, what: str) -> tuple[Sequence[tuple[str, str]], tuple[str, ...]]:
    """(place, what to mount there) of the one system, outermost first; and what is left out, for people.

    BuilderError when there is no system, or several.
    """
    there: Mapping[str, str] = handle.list_filesystems()
    roots = [name for name, kind in sorted(there.items()) if kind not in _NO_ROOT and _is_root(handle, name)]
    if len(roots) != 1:
        raise _no_root(roots, there, what)
    handle.mount_ro(roots[0], "/")
    text = ""
    if handle.is_file("/etc/fstab") and handle.filesize("/etc/fstab") <= _LARGEST_FSTAB:
        text = handle.read_file("/etc/fstab").decode(errors="replace")
    handle.umount_all()
    try:
        lines = parse_fstab(text)
    except ValueError as error:
        raise BuilderError(
            f"{what}: its /etc/fstab: {error}", hint="mend it there: it says what is mounted where"
        ) from None

    def device_of(line: Line) -> str:
        return _device(line, there, handle)

    return mounts(roots[0], lines, device_of, there)


def mounts(
    root: str, lines: Sequence[Line], device_of: Callable[[Line], str], there: Mapping[str, str]
) -> tuple[Sequence[tuple[str, str]], tuple[str, ...]]:
    """What to mount of a table of mounts: of what the disk has, all that is the system's own."""
    found = {"/": root}
    notes = []
    for line in lines:
        place = line.mount_point.rstrip("/")
        if place in _BOOT_LOADERS:
            notes.append(f"{place}: not taken over: the boot loader's own, of the old disk")
        elif place.startswith("/") and ".." not in place.split("/") and not _is_apart(place):
            device = device_of(line)
            if device in there and there[device] not in _NO_ROOT and device not in found.values():
                found[place] = device
    return sorted(found.items(), key=lambda pair: (pair[0].count("/") if pair[0] != "/" else 0, pair[0])), tuple(notes)


def _is_apart(place: str) -> bool:
    return any(place == each or place.startswith(f"{each}/") for each in _NOT_OF_THE_TREE)


def _is_root(handle: Any, name: str) -> bool:
    """Whether a file system holds a system: it has os-release, and /etc."""
    try:
        handle.mount_ro(name, "/")
    except RuntimeError:
        return False
    try:
        return bool(handle.is_dir("/etc")) and any(handle.is_file(path, followsymlinks=True) for path in _OS_RELEASE)
    finally:
        handle.umount_all()


def _no_root(roots: Sequence[str], there: Mapping[str, str], what: str) -> BuilderError:
    if roots:
        return BuilderError(
            f"{what}: there are {len(roots)} operating systems on it", detail="\n".join(sorted(roots)), hint=HINT
        )
    kinds = sorted(set(there.values()))
    if "crypto_LUKS" in kinds:
        return BuilderError(
            f"{what}: the disk is encrypted (LUKS)", hint="decrypt it first: cryptsetup, then give the plain disk"
        )
    held = f"it holds {', '.join(kinds)}" if kinds else "it holds no file system"
    return BuilderError(f"{what}: no operating system was found on it: {held}", hint=HINT)


def _device(line: Line, there: Mapping[str, str], handle: Any) -> str:
    """What the appliance calls what a table of mounts means; "" for what the disk does not have."""
    written, device = line.device.replace('"', ""), ""
    with suppress(RuntimeError):
        if written.startswith("UUID="):
            device = str(handle.findfs_uuid(written.removeprefix("UUID=")))
        elif written.startswith("LABEL="):
            device = str(handle.findfs_label(written.removeprefix("LABEL=")))
        elif written.startswith("/dev/mapper/"):
            device = str(handle.lvm_canonical_lv_name(written))
        else:
            device = on_the_first_disk(written)
    volume = next((each.removeprefix("subvol=") for each in line.options.split(",") if each.startswith("subvol=")), "")
    if volume:
        device = f"btrfsvol:{device}/{volume.lstrip('/')}"
    return device if device in there else ""


def on_the_first_disk(written: str) -> str:
    """The appliance's name for a partition of the disk that the system calls its first; "" for another disk's."""
    for prefix in _DISKS:
        if written.startswith(prefix):
            rest = written.removeprefix(prefix)
            first, separator = ("0n1", "p") if prefix == "/dev/nvme" else ("a", "")
            number = rest.removeprefix(first).removeprefix(separator) if rest.startswith(first) else ""
            return f"/dev/sda{number}" if number.isascii() and number.isdigit() else ""
    return written if written.startswith("/dev/") else ""
