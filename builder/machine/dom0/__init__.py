"""dom0 of the Xen host: an initramfs of a few programs, put together from unpacked packages. No disk, no udev, no shell
but busybox.

Found by trying (Debian 12, Xen 4.17): libxenstore dlopens libgcc_s (pthread_cancel), xl aborts at its end without it;
/run/xen must exist; the order of modules matters, since nothing in there resolves it.
"""

import lzma
import posixpath
import re
import stat
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.elf import needed
from builder.formats.initrd import Entry, format_cpio
from builder.host import process
from builder.machine import debs

_DATA = files(__package__)
SCRIPTS = {
    "init": "init.sh",
    "agent": "agent.sh",
    "etc/xen/scripts/block": "block.sh",
    "etc/xen/scripts/vif": "vif.sh",
}
MODULES = (
    "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs", "xen-blkback", "xen-netback",
    "virtio_pci", "virtio_net", "virtio_console", "virtio_scsi", "sd_mod",
    "crc32c_generic", "nf_tables", "nft_ct", "nft_nat", "nft_chain_nat",
)  # fmt: skip
LOADERS = {"pv-grub-hd0": "hd0", "pv-grub-hd00": "hd0,msdos1"}
_GRUB_MODULES = (
    "normal", "echo", "legacycfg", "configfile", "test", "halt", "reboot", "linux", "ext2", "part_msdos", "part_gpt",
    "gzio", "xzio", "lzopio", "ls", "sleep",
)  # fmt: skip
_XEN_PROGRAMS = ("xl", "xenstored", "xenconsoled", "xen-init-dom0")
_DIRECTORIES = ("proc", "sys", "dev", "run", "tmp", "var/lib/xen", "var/lib/xenstored", "var/log/xen")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def data(name: str) -> bytes:
    """A file that lies beside this one."""
    return _DATA.joinpath(name).read_bytes()


class Archive:
    """The members of the initramfs, each with its parents."""

    def __init__(self) -> None:
        self._members: dict[str, Entry] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def add(self, name: str, content: bytes = b"", mode: int = stat.S_IFREG | 0o755) -> None:
        parent = posixpath.dirname(name)
        if parent and parent not in self:
            self.directory(parent)
        self._members[name] = Entry(name=name, mode=mode, mtime=0, data=content)

    def directory(self, name: str) -> None:
        self.add(name, mode=stat.S_IFDIR | 0o755)

    def link(self, name: str, target: str) -> None:
        self.add(name, target.encode(), stat.S_IFLNK | 0o777)

    def node(self, name: str, major: int, minor: int) -> None:
        self.directory(posixpath.dirname(name))
        mode = stat.S_IFCHR | 0o600
        self._members[name] = Entry(name=name, mode=mode, mtime=0, data=b"", device=(major, minor))

    def bytes(self) -> bytes:
        return format_cpio(self._members[name] for name in sorted(self._members))


def initramfs(tree: Path, loaders: dict[str, bytes]) -> bytes:
    """dom0's user land from unpacked packages, uncompressed: unpacking takes longer than reading, emulated."""
    archive = Archive()
    for name in _DIRECTORIES:
        archive.directory(name)
    archive.link("var/run", "/run")
    archive.link("var/lock", "/run/lock")
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3)
    _add_busybox(archive, tree)
    _add_programs(archive, tree)
    _add_modules(archive, tree)
    for name, source in SCRIPTS.items():
        archive.add(name, data(source))
    archive.add("etc/nftables.conf", data("nftables.conf"), stat.S_IFREG | 0o644)
    archive.add("etc/xen/xl.conf", b'autoballoon="off"\n', stat.S_IFREG | 0o644)
    for name, content in loaders.items():
        archive.add(f"boot/{name}.bin", content, stat.S_IFREG | 0o644)
    return archive.bytes()


def _add_busybox(archive: Archive, tree: Path) -> None:
    busybox = debs.find(tree, "bin/busybox")
    listed = process.run([busybox, "--list"], capture=True).stdout.decode().split()
    archive.add("bin/busybox", busybox.read_bytes())
    for name in listed:
        if name != "busybox":
            archive.link(f"bin/{name}", "busybox")


def _add_programs(archive: Archive, tree: Path) -> None:
    """Xen's programs keep their place, which is compiled into some of them; all can be called by name."""
    for name in _XEN_PROGRAMS:
        source = debs.find(tree, f"usr/lib/xen-*/bin/{name}")
        place = str(source.relative_to(tree))
        _add_program(archive, tree, source, place)
        archive.link(f"bin/{name}", f"/{place}")
    for name in ("read", "write", "ls"):
        _add_program(archive, tree, debs.find(tree, f"usr/bin/xenstore-{name}"), f"bin/xenstore-{name}")
    _add_program(archive, tree, debs.find(tree, "usr/sbin/nft"), "bin/nft")
    _add_library(archive, tree, "libgcc_s.so.1")
    archive.add("lib64/ld-linux-x86-64.so.2", debs.find(tree, "lib*/**/ld-linux-x86-64.so.2").read_bytes())


def _add_program(archive: Archive, tree: Path, source: Path, place: str) -> None:
    content = source.read_bytes()
    archive.add(place, content)
    for name in needed(content):
        _add_library(archive, tree, name)


def _add_library(archive: Archive, tree: Path, name: str) -> None:
    place = f"lib/x86_64-linux-gnu/{name}"
    if place in archive or name.startswith("ld-linux"):
        return
    source = next((each / name for each in debs.libraries(tree) if (each / name).exists()), None)
    if source is None:
        raise BuilderError(f"the packages of the Xen host have no {name}")
    _add_program(archive, tree, source, place)


def _add_modules(archive: Archive, tree: Path) -> None:
    """The modules and what they depend on, in an order in which they can be loaded."""
    found = {path.name.partition(".ko")[0].replace("-", "_"): path for path in tree.glob("lib/modules/**/*.ko*")}
    order: dict[str, bytes] = {}
    for name in MODULES:
        load_after(name.replace("-", "_"), found, order)
    for name, content in order.items():
        archive.add(f"modules/{name}.ko", content, stat.S_IFREG | 0o644)
    archive.add("modules/order", "".join(f"{name}\n" for name in order).encode(), stat.S_IFREG | 0o644)


def load_after(name: str, found: dict[str, Path], order: dict[str, bytes]) -> None:
    """Append a module to `order`, after those that its own .modinfo names."""
    if name in order:
        return
    if name not in found:
        raise BuilderError(f"the kernel of the Xen host has no module {name}")
    path = found[name]
    content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    for each in dependencies(content):
        load_after(each, found, order)
    order[name] = content


def dependencies(module: bytes) -> tuple[str, ...]:
    """The modules that a module's .modinfo section says it needs, with "_" for "-"."""
    match = _DEPENDS.search(module)
    names = match[1].decode("ascii", "replace").split(",") if match else ()
    return tuple(name.replace("-", "_") for name in names if name)


def loaders(tree: Path, scratch: Path) -> dict[str, bytes]:
    """Stand-ins for Amazon's PV-GRUB: GRUB 2's Xen port that reads menu.lst as GRUB legacy did.

    Run with the packages' own libraries: grub-mkimage is not installed here.
    """
    made = {}
    for name, root in LOADERS.items():
        configuration, image = scratch / f"{name}.cfg", scratch / f"{name}.bin"
        configuration.write_bytes(data("pv-grub.cfg").replace(b"@ROOT@", root.encode()))
        process.run(mkimage_command(tree, configuration, image), capture=True)
        made[name] = image.read_bytes()
    return made


def mkimage_command(tree: Path, configuration: Path, image: Path) -> list[str | Path]:
    return [
        debs.find(tree, "lib*/**/ld-linux-x86-64.so.2"),
        "--library-path", ":".join(str(each) for each in debs.libraries(tree)),
        debs.find(tree, "usr/bin/grub-mkimage"),
        "--format", "x86_64-xen",
        "--directory", tree / "usr/lib/grub/x86_64-xen",
        "--config", configuration,
        "--prefix", "/boot/grub",
        "--output", image,
        *_GRUB_MODULES,
    ]  # fmt: skip


def definition() -> Iterator[tuple[str, bytes]]:
    """What decides the initramfs besides the packages: names and bytes of our own files."""
    yield from ((each.name, each.read_bytes()) for each in sorted(_DATA.iterdir(), key=lambda each: each.name)
                if each.is_file())  # fmt: skip
