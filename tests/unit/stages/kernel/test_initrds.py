"""What the two generators are told, and which kernel is meant."""

import pytest

from builder.errors import BuilderError
from builder.stages.kernel.boot_files import the_version
from builder.stages.kernel.initrds import generator

MODULES = ("xen-blkfront", "ext4")


def test_initramfs_tools() -> None:
    made = generator("initramfs-tools", "6.1.0-1", MODULES)
    assert made.configuration == (
        ("/etc/initramfs-tools/conf.d/ami-factory", "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n"),
        ("/etc/initramfs-tools/modules", "xen-blkfront\next4\n"),
    )
    assert made.command == ("mkinitramfs", "-o", "/boot/initrd.img-6.1.0-1", "6.1.0-1")
    assert made.output == "/boot/initrd.img-6.1.0-1"


def test_dracut() -> None:
    made = generator("dracut", "6.9.7-200.fc40", MODULES)
    [(path, text)] = made.configuration
    assert path == "/etc/dracut.conf.d/ami-factory.conf"
    assert 'hostonly="no"\nreproducible="yes"\n' in text
    assert 'add_drivers+=" xen-blkfront ext4 "\n' in text
    assert made.command == (
        "dracut", "--force", "--no-hostonly", "--reproducible", "--kver", "6.9.7-200.fc40",
        "--add-drivers", "xen-blkfront ext4", "/boot/initramfs-6.9.7-200.fc40.img",
    )  # fmt: skip


def test_the_kernel_that_was_installed() -> None:
    assert the_version(frozenset({"5.10"}), frozenset({"5.10", "6.1"})) == "6.1"
    for before, after in (({"6.1"}, {"6.1"}), (set(), {"6.1", "6.9"})):
        with pytest.raises(BuilderError, match=r"brought . kernels, not one: "):
            the_version(frozenset(before), frozenset(after))
