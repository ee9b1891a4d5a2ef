"""Trees and images that keep every rule of the verify stage, and the same with one fault of every kind."""

import gzip
import os
import subprocess
from pathlib import Path

from tests.support.boot import elf, initrd

FSTAB = "/dev/xvda1 / ext4 defaults,noatime 0 1\n/dev/xvda3 none swap sw,nofail,x-systemd.device-timeout=30 0 0\n"
MENU = """default 0
timeout 0
title x
root (hd0)
kernel /boot/vmlinuz root=/dev/xvda1 ro console=hvc0
initrd /boot/initrd.img
"""
WANTS = "etc/systemd/system/multi-user.target.wants"


def make_tree(root: Path) -> None:
    """A tree that keeps all rules; its owner is whoever runs this."""
    files = {
        "etc/fstab": FSTAB,
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/shadow": "root:*:1::::::\n",
        "etc/machine-id": "",
        "etc/systemd/network/10-ami-factory.network": "[Match]\n",
        "boot/grub/menu.lst": MENU,
        "boot/vmlinuz-6.1": gzip.compress(elf()) + bytes(5_000_000),
        "boot/initrd.img": gzip.compress(initrd("init", "usr/lib/modules/6.1/kernel/xen-blkfront.ko")),
        "usr/lib/modules/6.1/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
        "usr/lib/systemd/systemd": elf(),
        "root/.ssh/authorized_keys": "ssh-ed25519 AAAA x\n",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
        (root / name).chmod(0o600)
    links = {
        "sbin": "usr/sbin",
        "usr/sbin/init": "/usr/lib/systemd/systemd",
        "boot/vmlinuz": "vmlinuz-6.1",
        f"{WANTS}/ssh.service": "/usr/lib/systemd/system/ssh.service",
        f"{WANTS}/systemd-networkd.service": "/usr/lib/systemd/system/systemd-networkd.service",
        f"{WANTS}/ami-factory-ssh-key.service": "/etc/systemd/system/ami-factory-ssh-key.service",
    }
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)


def spoil(root: Path) -> None:
    """One fault of every kind that only a real image shows."""
    (root / "usr/sbin/init").unlink()
    (root / "usr/sbin/init").symlink_to("/etc/passwd")
    (root / "boot/vmlinuz").unlink()
    (root / "boot/vmlinuz").symlink_to("../../../../boot/nowhere")
    (root / "root/.ssh/authorized_keys").chmod(0o666)
    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/ssh_host_ed25519_key").write_text("key")
    (root / "etc/fstab").write_text(FSTAB.replace("xvda3", "xvdz"))
    (root / WANTS / "ssh.service").unlink()


def make_image(tree: Path, image: Path, *options: str) -> Path:
    image.touch()
    os.truncate(image, 32 * 1024**2)
    command = ["mke2fs", "-q", "-F", *options, "-d", tree, image]
    subprocess.run(command, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}, check=True)
    return image
