"""A guest as small as it can be: Debian's kernel and an initrd that does what it is told through its user data.

It boots as any image does (PV-GRUB, menu.lst), says on its console what it got, serves HTTP on ports 22 and 80, and
tries for ever to reach the addresses that its user data lists.
"""

import gzip
import json
import shutil
import stat
import subprocess
from pathlib import Path

from builder.canonical import digest_of
from builder.formats.bzimage import parse_kernel, unpack_kernel
from builder.formats.initrd import Entry, format_cpio, read_initrd
from builder.host import apt
from builder.machine import debs, dom0
from builder.machine.prepare import Prepared, definition, prepare

INIT = r"""#!/bin/busybox sh
export PATH=/bin HOME=/ # wget of a static busybox crashes without a home
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up; ip link set eth0 up
udhcpc -i eth0 -q -s /lease
# Not wget: Debian's static busybox crashes in it where there is no libc to load.
ask() { printf 'GET /latest/%s HTTP/1.0\r\n\r\n' "$1" | nc -w 9 169.254.169.254 80 | sed '1,/^\r$/d'; }
echo "@instance $(ask meta-data/instance-id)"
echo "@disks $(ls /sys/block | tr '\n' ' ')"
httpd -h /www -p 22; httpd -h /www -p 80
echo "@ready"
while :; do
    for each in $(ask user-data); do
        printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 9 "${each%:*}" "${each#*:}" 2>/dev/null | grep -q works &&
            answer=yes || answer=no
        echo "@reach $each $answer"
    done
    sleep 1
done
"""
LEASE = r"""#!/bin/sh
PATH=/bin
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev eth0
ip route add default via "$router" dev eth0
echo "@lease $ip router $router name $hostname for $lease"
"""
MENU = """default 0
timeout 0
title tiny
root (hd0)
kernel /boot/vmlinuz root=/dev/xvda1 console=hvc0 quiet
initrd /boot/initrd
"""
# Blocks of 4 KiB, as real images have them; mke2fs would take 1 KiB for one so small.
MAKE = ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum")


def silent(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def prepared_host(cache: Path) -> Prepared:
    return prepare(cache, progress=silent, note=print)


def tiny_image(cache: Path, scratch: Path) -> Path:
    """The image of a tiny guest, made once for a cache."""
    image = cache / "machine" / f"tiny-guest-{digest_of([INIT, LEASE, MENU, MAKE])[:16]}.img"
    if image.exists():
        return image
    prepared = prepared_host(cache)
    tree, modules = scratch / "image", scratch / "kernel"
    (tree / "boot/grub").mkdir(parents=True)
    # What GRUB, emulated, reads and unpacks soonest.
    kernel = unpack_kernel(parse_kernel(prepared.kernel.read_bytes()))
    (tree / "boot/vmlinuz").write_bytes(gzip.compress(kernel, compresslevel=6, mtime=0))
    (tree / "boot/grub/menu.lst").write_text(MENU)
    listed = json.loads((cache / "machine" / f"{definition()}.json").read_text())
    packages = [apt.Deb(**each) for each in listed if each["name"].startswith("linux-image-")]
    archives = debs.fetch(packages, state=cache / "apt", cache=cache / "debs", progress=silent)
    debs.unpack(archives, modules)
    (tree / "boot/initrd").write_bytes(initrd(prepared, modules))
    partial = scratch / "tiny.img"
    command = [*MAKE, "-d", str(tree), str(partial), "64M"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.move(partial, image)
    return image


def initrd(prepared: Prepared, tree: Path) -> bytes:
    host = {each.name: each for each in read_initrd(prepared.initramfs.read_bytes())}
    program, directory, plain = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
    order: dict[str, bytes] = {}
    found = {path.name.removesuffix(".ko").replace("-", "_"): path for path in tree.glob("lib/modules/**/*.ko")}
    for name in ("xen_blkfront", "xen_netfront"):
        dom0.load_after(name, found, order)
    members = [
        *(
            Entry(name=each, mode=directory, mtime=0, data=b"")
            for each in ("bin", "dev", "modules", "proc", "sbin", "sys", "www")
        ),
        Entry(name="dev/console", mode=stat.S_IFCHR | 0o600, mtime=0, data=b"", device=(5, 1)),
        *(each for name, each in host.items() if name.startswith("bin/") and each.data in (b"busybox",)),
        host["bin/busybox"],
        Entry(name="init", mode=program, mtime=0, data=INIT.encode()),
        Entry(name="lease", mode=program, mtime=0, data=LEASE.encode()),
        Entry(name="sbin/reboot", mode=program, mtime=0, data=b"#!/bin/busybox sh\nexec /bin/busybox reboot -f\n"),
        Entry(name="sbin/poweroff", mode=program, mtime=0, data=b"#!/bin/busybox sh\nexec /bin/busybox poweroff -f\n"),
        Entry(name="www/index.html", mode=plain, mtime=0, data=b"it works\n"),
        *(Entry(name=f"modules/{name}", mode=plain, mtime=0, data=data) for name, data in order.items()),
        Entry(name="modules/order", mode=plain, mtime=0, data="".join(f"{name}\n" for name in order).encode()),
    ]
    return format_cpio(members)
