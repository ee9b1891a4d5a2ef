"""An image in plain QEMU, without Xen: a quick look at its user land, and for kernels that Xen cannot take.

The image's own kernel, an initramfs of ours (virtio disks, then the image), the same metadata service. What this does
not show: the loader, the boot menu, the image's initrd, Xen's devices.
"""

import gzip
import lzma
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from builder.errors import BuilderError
from builder.formats import menu_lst
from builder.formats.bzimage import parse_kernel
from builder.formats.initrd import Entry, format_cpio, module_name, read_initrd
from builder.host import process, zstd
from builder.machine import image_files, plain, qemu
from builder.machine.created import Guest
from builder.machine.guest import Disk, GuestSpec
from builder.machine.metadata_socket import Serve
from builder.machine.plain import PlainMachine
from builder.machine.prepare import Prepared

MENUS = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
# Documentation/arch/x86/boot.rst: xloadflags, and its bit for a 64-bit entry point.
_XLOADFLAGS, _KERNEL_64 = 0x236, 1
_MODULES = ("virtio_pci", "virtio_blk", "ext4")


@contextmanager
def booted(
    spec: GuestSpec, prepared: Prepared, *, scratch: Path, logs: Path, serve: Serve | None = None
) -> Iterator[PlainMachine]:
    """A guest that ends with the block. The same questions can be asked as of one under Xen."""
    logs.mkdir(parents=True, exist_ok=True)
    console = logs / f"{spec.name}.console"
    root = spec.disks[0]
    boot = scratch / f"{spec.name}.boot"
    boot.mkdir(parents=True)
    menu = boot_entry(root.base, boot)
    kernel, version = _kernel(root.base, menu.kernel, boot)
    (boot / "kernel").write_bytes(kernel)
    (boot / "initrd").write_bytes(initramfs(root.base, version, spec.disks, prepared, boot))
    machine = PlainMachine(
        Guest(spec, 1, console),
        [{"driver": "virtio-blk-pci"}] * len(spec.disks),
        options=lambda place: command_options(spec, boot, console, arguments(menu.arguments, root_of(root.base))),
        scratch=scratch,
        log=logs / "qemu.log",
        serve=serve,
    )
    try:
        yield machine
    finally:
        machine.close()


def command_options(spec: GuestSpec, boot: Path, console: Path, command_line: str) -> list[str]:
    return [
        "-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "pc,usb=off",
        "-kernel", str(boot / "kernel"), "-initrd", str(boot / "initrd"), "-append", command_line,
        "-serial", f"file:{qemu.escaped(console)}",
        *plain.common_options(spec),
    ]  # fmt: skip


def root_of(image: Path) -> str:
    """The root's device in plain QEMU: the first disk, or its first partition."""
    return "/dev/vda1" if image_files.place_of_root(image).offset else "/dev/vda"


def arguments(command_line: str, root: str) -> str:
    """The menu's command line, with what names Xen's devices put right."""
    kept = [word for word in command_line.split() if not word.startswith(("root=", "console="))]
    return " ".join([f"root={root}", "console=ttyS0", *kept])


def boot_entry(image: Path, scratch: Path) -> menu_lst.Entry:
    """What the image's boot menu chooses."""
    for path in MENUS:
        text = image_files.read(image, path, scratch)
        if text is not None:
            try:
                return menu_lst.parse_menu(text.decode(errors="replace")).chosen
            except (ValueError, IndexError) as error:
                raise BuilderError(f"{path} of the image: {error}") from None
    raise BuilderError(
        f"{image} has no {MENUS[0]}", hint="is it an ext3 or ext4 file system without partitions, for PV-GRUB?"
    )


def _kernel(image: Path, path: str, scratch: Path) -> tuple[bytes, str]:
    """A kernel that QEMU can load, and its version. Beside one that was unpacked for PV-GRUB lies the packaged one."""
    data = image_files.read(image, path.removesuffix("-pv"), scratch) or image_files.require(image, path, scratch)
    kernel = parse_kernel(data)
    if kernel.form == "bzimage" and not data[_XLOADFLAGS] & _KERNEL_64:
        raise BuilderError(f"{path} is a 32-bit kernel, which a direct boot does not take", hint="use --level login")
    version = kernel.version or path.rpartition("/vmlinuz-")[2].removesuffix("-pv")
    return (gzip.decompress(data) if kernel.form == "elf" and kernel.compression == "gzip" else data), version


def initramfs(image: Path, version: str, disks: Sequence[Disk], prepared: Prepared, scratch: Path) -> bytes:
    """Our own: busybox, the image's modules for virtio disks and ext4, and the names that disks are to have."""
    modules = list(_modules(image, version, scratch))
    busybox = next(each for each in read_initrd(prepared.initramfs.read_bytes()) if each.name == "bin/busybox")
    plain, directory = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755
    listed = process.run([_written(scratch / "busybox", busybox.data), "--list"], capture=True).stdout.decode().split()
    return format_cpio(
        (
            *(Entry(name=each, mode=directory, mtime=0, data=b"") for each in ("bin", "dev", "proc", "sys", "run")),
            Entry(name="dev/console", mode=stat.S_IFCHR | 0o600, mtime=0, data=b"", device=(5, 1)),
            Entry(name="bin/busybox", mode=plain, mtime=0, data=busybox.data),
            *(
                Entry(name=f"bin/{each}", mode=stat.S_IFLNK | 0o777, mtime=0, data=b"busybox")
                for each in listed
                if each != "busybox"
            ),
            Entry(name="init", mode=plain, mtime=0, data=files(__package__).joinpath("direct_init.sh").read_bytes()),
            Entry(name="disks.rules", mode=plain, mtime=0, data=disk_rules(disks).encode()),
            Entry(name="modules", mode=directory, mtime=0, data=b""),
            *(Entry(name=f"modules/{name}", mode=plain, mtime=0, data=data) for name, data in modules),
            Entry(name="modules/order", mode=plain, mtime=0, data="".join(f"{name}\n" for name, _ in modules).encode()),
        )
    )


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o700)
    return path


def _modules(image: Path, version: str, scratch: Path) -> Iterator[tuple[str, bytes]]:
    """File name and content of each module that is needed, in the order of loading; what is built in is not."""
    place = f"/usr/lib/modules/{version}"
    listing = image_files.require(image, f"{place}/modules.dep", scratch).decode(errors="replace")
    for path in load_order(listing, _MODULES):
        data = image_files.require(image, f"{place}/{path}", scratch)
        name = f"{module_name(path)}.ko"
        if path.endswith(".xz"):
            data = lzma.decompress(data)
        elif path.endswith(".zst"):
            data = zstd.unpack(data)
        elif path.endswith(".gz"):
            data = gzip.decompress(data)
        yield name, data


def load_order(listing: str, wanted: Sequence[str]) -> list[str]:
    """Paths from modules.dep for the wanted modules, each after what it depends on. Unlisted ones are built in."""
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in listing.splitlines())}
    named = {module_name(path): path for path in needs}
    order: dict[str, None] = {}

    def add(path: str) -> None:
        if path not in order:
            for each in needs.get(path, ()):
                add(each)
            order[path] = None

    for name in wanted:
        if name in named:
            add(named[name])
    return list(order)


def disk_rules(disks: Sequence[Disk]) -> str:
    """udev(7): the names that EC2 and newer kernels have for a disk, for plain QEMU's."""
    lines = []
    for letter, disk in zip("abcdefghijklmnopqrstuvwxyz", disks, strict=False):
        newer = "xvd" + disk.device.removeprefix("sd")
        lines.append(f'KERNEL=="vd{letter}", SYMLINK+="{disk.device} {newer}"\n')
        if not disk.device[-1].isdigit():
            lines.append(f'KERNEL=="vd{letter}[0-9]", SYMLINK+="{disk.device}%n {newer}%n"\n')
    return "".join(lines)
