"""Images without a recipe: what is assumed of them, and what is found then."""

import gzip
import stat
from pathlib import Path
from typing import Any

import pytest

from builder.catalog.kernels import Kernel, load_kernel
from builder.errors import RecipeError
from builder.stages.verify.bare import assumed, is_disk, judge_bare, purpose
from builder.stages.verify.facts import Facts, File
from builder.stages.verify.rules import RULES, WARNINGS
from tests.support.boot import elf, initrd

ROOT = Path(__file__).parents[4]
MENU = "default 0\ntitle x\nroot (hd0)\nkernel /boot/vmlinuz root=/dev/sda1 ro console=hvc0\ninitrd /boot/initrd.img\n"
WANTS = "/etc/systemd/system/multi-user.target.wants"


def regular(data: str | bytes = b"", mode: int = 0o644) -> File:
    return File(mode=stat.S_IFREG | mode, data=data.encode() if isinstance(data, str) else data)


FILES = {
    "/etc/fstab": regular("/dev/sda1 / ext3 defaults 0 1\n"),
    "/etc/shadow": regular("root:*:19000::::::\n"),
    "/etc/machine-id": regular(),
    "/boot/grub/menu.lst": regular(MENU),
    "/boot/vmlinuz": regular(gzip.compress(elf())),
    "/boot/initrd.img": regular(
        gzip.compress(initrd("init", *(f"usr/lib/modules/6/{each}.ko" for each in ("xen-blkfront", "xen-netfront"))))
    ),
    "/sbin/init": regular(elf()),
    f"{WANTS}/sshd.service": File(mode=stat.S_IFLNK, target="/usr/lib/systemd/system/sshd.service"),
}


def facts(features: str = "has_journal", **changes: File | None) -> Facts:
    """A foreign ext3 image, with files changed; names have __ for each slash."""
    named = {name.replace("__", "/"): file for name, file in changes.items()}
    files = {name: file for name, file in {**FILES, **named}.items() if file is not None}
    return Facts(
        superblock={"Filesystem features": features}, complaints="", files=files, modules_builtin="kernel/fs/ext4.ko\n"
    )


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return load_kernel(ROOT / "kernels", "quickstart")


def test_nothing_is_found_in_a_foreign_image_that_boots(kernel: Kernel) -> None:
    """Not even that the files which the factory puts into its own are missing."""
    assert judge_bare(kernel, facts()) == ()


def test_what_is_assumed(kernel: Kernel) -> None:
    found = assumed(kernel, facts("has_journal extent", __sbin__init=regular(elf(bits=32))))
    assert (found.architecture, found.filesystem, found.root_device) == ("i386", "ext4", "/dev/sda1")
    assert (found.features, found.pv_note) == (kernel.filesystem.ext4, kernel.pv.unsupported["i386"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"features": "has_journal 64bit"}, ["filesystem-features"], id="loader-cannot-read-it"),
        pytest.param({"__etc__fstab": regular("/dev/sdb / ext3 defaults 0 1\n")}, ["fstab"], id="another-root"),
        pytest.param({"__etc__fstab": regular("what")}, ["fstab"], id="no-fstab"),
        pytest.param({"__boot__grub__menu.lst": None}, ["boot-menu"], id="no-menu"),
        pytest.param({"__sbin__init": None}, ["init"], id="no-init"),
        pytest.param({"__boot__vmlinuz": None}, ["kernel"], id="no-kernel"),
        pytest.param({"__etc__ssh__ssh_host_rsa_key": regular()}, ["host-keys"], id="host-key"),
        pytest.param({"__etc__shadow": regular("root::1::::::\n")}, ["root-password"], id="password"),
        pytest.param({"__sbin__init": regular(elf(bits=32))}, ["paravirtual"], id="32-bits"),
    ],
)
def test_faults(changes: dict[str, Any], expected: list[str], kernel: Kernel) -> None:
    assert [each.id for each in judge_bare(kernel, facts(**changes))] == expected


def test_every_rule_says_what_it_is_for() -> None:
    assert [name for name in RULES | WARNINGS if not purpose(name).endswith(".")] == []


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (bytes(510) + b"\x55\xaa", "x is a disk without a GPT"),
        (b"", "x is neither a manifest nor an image of a disk"),
    ],
)
def test_what_is_not_looked_into(head: bytes, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        is_disk(head, "x")


def test_what_is_looked_into() -> None:
    assert not is_disk(bytes(1080) + b"\x53\xef" + bytes(966), "x")
    assert is_disk(bytes(510) + b"\x55\xaaEFI PART" + bytes(1528), "x")
