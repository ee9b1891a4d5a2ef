"""Disks as the base, through the real appliance: one for each test, and it takes its time where there is no KVM."""

import hashlib
import io
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.formats import layer_tar
from builder.formats.layer_tar import Entry
from builder.stages.base.disk import format_of
from tests.support.images import TREE, directory, taken
from tests.support.layers import CAPABILITY

pytestmark = pytest.mark.host

MIB = 1 << 20


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system that libguestfs takes for one, with owners, attributes, links and lost+found's like."""
    root = directory(
        tmp_path_factory.mktemp("tree") / "root",
        {**TREE, "etc/fstab": "/dev/xvda1 / ext4 defaults 0 1\n/dev/xvdb /mnt ext3 defaults,nofail 0 2\n"},
    )
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    os.link(root / "etc/hostname", root / "etc/second")
    os.mkfifo(root / "etc/pipe")
    (root / "usr/bin/dash").chmod(0o4755)
    if os.geteuid() == 0:
        os.chown(root / "etc/hostname", 33, 42)
        os.setxattr(root / "usr/bin/dash", "security.capability", CAPABILITY)
        os.setxattr(root / "etc/hostname", "user.note", b"kept")
        subprocess.run(["setfacl", "-m", "u:1000:r--", root / "etc/fstab"], check=False)
    return root


def filesystem(disk: Path, tree: Path, *, offset: int = 0, size: int = 32 * MIB) -> Path:
    """An ext4 of a tree at an offset of a file."""
    with disk.open("ab") as file:
        file.truncate(max(disk.stat().st_size, offset + size))
    options = f"offset={offset},root_owner=0:0"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", options, "-d", tree, disk, f"{size >> 10}k"], check=True)
    return disk


def partitioned(disk: Path, *starts: int) -> None:
    """A GPT with a partition of 40 MiB at each of these places."""
    with disk.open("ab") as file:
        file.truncate(starts[-1] + 48 * MIB)
    lines = "".join(f"start={start // 512}, size={40 * MIB // 512}\n" for start in starts)
    subprocess.run(["sfdisk", "-q", disk], input=f"label: gpt\n{lines}".encode(), check=True)


def entries(place: Path) -> list[tuple[Entry, str]]:
    """What the layer says of every name, and a digest of its bytes; but for the root's time, which is mke2fs's own."""
    found = []
    with (place / "base/output/layer.tar").open("rb") as file:
        for entry, copy in layer_tar.read_entries(file):
            data = io.BytesIO()
            copy(data)
            found.append(
                (entry if entry.path else replace(entry, mtime=0), hashlib.sha256(data.getvalue()).hexdigest())
            )
    return found


@pytest.fixture
def surroundings(downloads: Path) -> dict[str, Any]:
    """The appliance is made once for all tests of a run."""
    return {"cache": downloads}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["raw", "qcow2", "partition"])
def test_a_disk_becomes_the_layer_of_its_tree(
    kind: str, tree: Path, tmp_path: Path, surroundings: dict[str, Any]
) -> None:
    disk = tmp_path / "disk.raw"
    if kind == "partition":
        partitioned(disk, MIB)
    filesystem(disk, tree, offset=MIB if kind == "partition" else 0)
    if kind == "qcow2":
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", disk, tmp_path / "disk.qcow2"], check=True)
        disk = tmp_path / "disk.qcow2"
    before = hashlib.sha256(disk.read_bytes()).hexdigest()
    found = taken(disk, tmp_path / "disk", **surroundings)
    taken(tree, tmp_path / "directory")
    assert entries(tmp_path / "disk") == entries(tmp_path / "directory")
    assert (found["pinned"]["format"], found["pinned"]["pin"]) == ("qcow2" if kind == "qcow2" else "raw", before)
    assert hashlib.sha256(disk.read_bytes()).hexdigest() == before


@pytest.mark.slow
def test_two_systems_on_one_disk(tree: Path, tmp_path: Path, surroundings: dict[str, Any]) -> None:
    disk = tmp_path / "disk.raw"
    partitioned(disk, MIB, 48 * MIB)
    for offset in (MIB, 48 * MIB):
        filesystem(disk, tree, offset=offset)
    with pytest.raises(BuilderError, match="there are 2 operating systems on it") as raised:
        taken(disk, tmp_path / "disk", **surroundings)
    assert "/dev/sda1" in raised.value.detail


@pytest.mark.slow
def test_an_encrypted_disk(tmp_path: Path, surroundings: dict[str, Any]) -> None:
    disk = tmp_path / "disk.raw"
    secret = ["--object", "secret,id=s,data=word", "-o", "key-secret=s,iter-time=10"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "luks", *secret, disk, "16M"], check=True)
    with pytest.raises(BuilderError, match=r"the disk is encrypted \(LUKS\)"):
        taken(disk, tmp_path / "disk", **surroundings)


@pytest.mark.slow
def test_a_disk_without_a_system(tmp_path: Path, surroundings: dict[str, Any]) -> None:
    (tmp_path / "tree").mkdir()
    disk = filesystem(tmp_path / "disk.raw", tmp_path / "tree")
    with pytest.raises(BuilderError, match="no operating system was found on it: it holds ext4"):
        taken(disk, tmp_path / "disk", **surroundings)


@pytest.mark.slow
def test_a_file_system_made_to_break_its_reader(tree: Path, tmp_path: Path, surroundings: dict[str, Any]) -> None:
    """The inode of the root directory, and all that follow it, overwritten with the largest of everything."""
    disk = filesystem(tmp_path / "disk.raw", tree)
    said = subprocess.run(["dumpe2fs", disk], capture_output=True, text=True, check=True).stdout
    table = int(said.split("Inode table at ")[1].split("-")[0])
    block = int(said.split("Block size:")[1].split()[0])
    with disk.open("r+b") as file:
        file.seek(table * block + 256 * 12)
        file.write(b"\xff" * 256 * 40)
    with pytest.raises(BuilderError) as raised:
        taken(disk, tmp_path / "disk", **surroundings)
    assert str(disk) in raised.value.brief


def test_a_disk_that_needs_another_file(tmp_path: Path) -> None:
    """Not even looked at: no appliance is started for it."""
    secret = tmp_path / "host-file"
    secret.write_bytes(b"secret" * 1000)
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk], check=True)
    with pytest.raises(BuilderError, match="a qcow2 image with a backing file"):
        taken(disk, tmp_path / "a")
    options = ["-o", f"data_file={tmp_path / 'data'}"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, tmp_path / "d.qcow2", "1M"], check=True)
    with pytest.raises(BuilderError, match="whose data are in another file"):
        format_of(tmp_path / "d.qcow2")


@pytest.mark.parametrize(("kind", "word"), [("vmdk", "VMDK"), ("vhdx", "VHDX"), ("vpc", "VHD"), ("qed", "QED")])
def test_disks_of_others(tmp_path: Path, kind: str, word: str) -> None:
    disk = tmp_path / "disk"
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, disk, "4M"], check=True)
    with pytest.raises(BuilderError, match=f"a disk as {word}, which is not read here") as raised:
        taken(disk, tmp_path / "a")
    assert "qemu-img convert" in raised.value.hint
