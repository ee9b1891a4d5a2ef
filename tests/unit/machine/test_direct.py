"""Plain QEMU's disks under the names that a guest of Xen has for them."""

from pathlib import Path

import pytest

from builder.formats.mbr import FIRST, LINUX, SECTOR, Partition, format_mbr
from builder.machine import image_files
from builder.machine.direct import arguments, disk_rules, root_of
from builder.machine.guest import Disk


def test_names_of_disks() -> None:
    """A whole disk's partitions go with it."""
    disks = [Disk(device=name, base=Path("x")) for name in ("sda1", "sda2", "sdb")]
    assert disk_rules(disks).splitlines() == [
        'KERNEL=="vda", SYMLINK+="sda1 xvda1"',
        'KERNEL=="vdb", SYMLINK+="sda2 xvda2"',
        'KERNEL=="vdc", SYMLINK+="sdb xvdb"',
        'KERNEL=="vdc[0-9]", SYMLINK+="sdb%n xvdb%n"',
    ]


@pytest.mark.parametrize(
    ("start", "root", "offset"),
    [
        pytest.param(bytes(SECTOR), "/dev/vda", 0, id="a file system"),
        pytest.param(
            format_mbr("0badcafe", Partition(number=1, kind=LINUX, first=FIRST, sectors=2048)),
            "/dev/vda1",
            1024**2,
            id="a disk",
        ),
    ],
)
def test_where_the_root_is(tmp_path: Path, start: bytes, root: str, offset: int) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(start.ljust(2 * 1024**2, b"\0"))
    assert (root_of(image), image_files.place_of_root(image).offset) == (root, offset)


def test_the_command_line() -> None:
    assert arguments("root=/dev/xvda1 ro console=hvc0 quiet", "/dev/vda1") == "root=/dev/vda1 console=ttyS0 ro quiet"
