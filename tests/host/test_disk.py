"""The image stage with a disk around its file system: equal bytes each time, and GRUB comes up from BIOS.

The tree is GRUB's own packages and what they run with, from the host's archive; its menu says a word and halts.
"""

import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.formats import gpt
from builder.formats.layer_tar import Entry, Kind
from builder.host import apt
from builder.stages.image.spec import DiskSpec, ImageSpec
from builder.stages.verify.disk_facts import read_disk
from tests.support.layers import EPOCH, directory, file, link, write_layer

pytestmark = pytest.mark.host
MIB = 1024**2
UUID = "6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11"
DISK = DiskSpec(
    identity="d35af4d4-9e6e-571e-a5f5-04c49006e291", architecture="x86_64", mkimage="grub-mkimage", esp="5B366D0E"
)
SPEC = ImageSpec(
    size=0,
    free=16 * MIB,
    filesystem="ext4",
    features="64bit,metadata_csum,^orphan_file",
    inode_size=256,
    label="root",
    uuid=UUID,
    hash_seed="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a12",
    source_epoch=EPOCH,
    disk=DISK,
)
MENU = f"""\
if [ "$grub_platform" = pc ]; then
    serial
    terminal_output serial
fi
search --no-floppy --fs-uuid --set=root {UUID}
echo "GRUB came up on $grub_platform from $root"
halt
"""
Stage = Callable[..., Any]


@pytest.fixture
def loader(downloads: Path) -> list[tuple[Entry, bytes]]:
    """The tree's entries."""
    state = downloads / "apt"
    roots = ("grub-common", "grub-pc-bin", "grub-efi-amd64-bin")
    chosen = apt.closure("amd64", roots, state, print)
    debs = apt.fetch(chosen, "amd64", state=state, cache=downloads / "debs", progress=lambda *_: None, remedy="")
    found: dict[bytes, tuple[Entry, bytes]] = {}
    for deb in debs.values():
        packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
        found |= {entry.path: (entry, data) for entry, data in entries(packed)}
    for each in (directory("boot"), directory("boot/grub"), file("boot/grub/grub.cfg", MENU)):
        found[each[0].path] = each
    for name in ("proc", "dev", "run", "tmp"):
        found[name.encode()] = directory(name)
    return list(found.values())


def entries(packed: bytes) -> Iterator[tuple[Entry, bytes]]:
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if member.isdir() and name not in ("", "."):
                yield directory(name)
            elif member.issym():
                yield link(name, member.linkname)
            elif member.islnk():
                yield link(name, member.linkname.removeprefix("./"), Kind.HARD_LINK)
            elif member.isfile():
                body = archive.extractfile(member)
                yield file(name, body.read() if body else b"", mode=member.mode & 0o777)


def test_equal_bytes_elsewhere_later_and_as_another_user(
    stage: Stage, trees: Path, other_user: str, loader: list[tuple[Entry, bytes]]
) -> None:
    layers = [write_layer(trees / "packages", "packages", loader)]
    first = stage("image.run", SPEC, place=trees / "first", inputs=layers)
    time.sleep(2.1)  # FAT's clock ticks every two seconds
    (trees / "home of another").mkdir()
    (trees / "home of another").chmod(0o777)
    second = stage("image.run", SPEC, place=trees / "home of another/b", inputs=layers, user=other_user)
    images = [trees / "first/output/disk.raw", trees / "home of another/b/output/disk.raw"]
    assert subprocess.run(["cmp", *images], check=False).returncode == 0
    assert first == second
    assert first["size"] == images[0].stat().st_size == 1024**3
    assert images[0].stat().st_blocks * 512 < first["used"] + 8 * MIB


def test_the_disk_is_whole_and_boots(stage: Stage, trees: Path, loader: list[tuple[Entry, bytes]]) -> None:
    stage("image.run", SPEC, place=trees / "run", inputs=[write_layer(trees / "packages", "packages", loader)])
    image = trees / "run/output/disk.raw"
    disk = read_disk(image)
    assert (disk.problem, disk.root is not None and disk.root.offset) == ("", 64 * MIB)
    checked = subprocess.run(["e2fsck", "-f", "-n", f"{image}?offset={64 * MIB}"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    esp = disk.of_kind(gpt.EFI_SYSTEM)
    assert esp is not None
    listed = subprocess.run(
        ["mtype", "-i", f"{image}@@{esp.offset}", "::EFI/BOOT/BOOTX64.EFI"], capture_output=True, check=True
    )
    assert listed.stdout[:2] == b"MZ"
    assert "GRUB came up on pc from hd0,gpt1" in booted(image)


def booted(image: Path) -> str:
    """What a PC with a BIOS says on its serial port until it halts."""
    done = subprocess.run(
        ["qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot",
         "-drive", f"file={image},format=raw,if=none,id=root,snapshot=on", "-device", "nvme,drive=root,serial=vol1",
         "-serial", "stdio"],
        capture_output=True, timeout=600, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("usr/bin/grub-mkimage", "the tree has no grub-mkimage, of which the boot loader is made"),
        ("usr/lib/grub/i386-pc/boot.img", "the tree has no /usr/lib/grub/i386-pc/boot.img"),
        ("usr/lib/grub/x86_64-efi/moddep.lst", "the tree has no /usr/lib/grub/x86_64-efi"),
    ],
)
def test_a_tree_without_grub(
    stage: Stage, trees: Path, loader: list[tuple[Entry, bytes]], gone: str, said: str
) -> None:
    lacking = [each for each in loader if each[0].path != gone.encode()]
    with pytest.raises(BuilderError) as caught:
        stage("image.run", SPEC, place=trees / "run", inputs=[write_layer(trees / "packages", "packages", lacking)])
    assert caught.value.brief.startswith(said)
    assert "[hvm.packages]" in caught.value.hint


def test_a_size_is_rounded_up_to_whole_gib(stage: Stage, trees: Path, loader: list[tuple[Entry, bytes]]) -> None:
    layers = [write_layer(trees / "packages", "packages", loader)]
    made = stage("image.run", replace(SPEC, size=1025 * MIB), place=trees / "run", inputs=layers)
    assert made["size"] == 2 * 1024**3
