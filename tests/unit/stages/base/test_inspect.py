"""What of a table of mounts is mounted: the system's own file systems, and no more than the disk has."""

import pytest

from builder.formats.fstab import Line, parse_fstab
from builder.stages.base.inspect import mounts, on_the_first_disk

THERE = {"/dev/sda1": "ext4", "/dev/sda2": "xfs", "/dev/sda15": "vfat", "/dev/sda3": "swap"}
TABLE = """\
UUID=1 / ext4 defaults 0 1
/dev/xvda2 /boot ext4 defaults 0 2
/dev/xvda15 /boot/efi vfat defaults 0 2
/dev/xvda3 none swap sw 0 0
/dev/xvda2 /var ext4 defaults 0 2
/dev/xvdb /mnt ext3 defaults,nofail 0 2
/dev/xvda2 /proc/x ext4 defaults 0 2
/dev/xvda2 /../etc ext4 defaults 0 2
/dev/xvdb1 /home ext4 defaults 0 2
"""


def test_a_table_of_mounts() -> None:
    def device_of(line: Line) -> str:
        return "/dev/sda1" if line.device.startswith("UUID") else on_the_first_disk(line.device)

    found, notes = mounts("/dev/sda1", parse_fstab(TABLE), device_of, THERE)
    assert found == [("/", "/dev/sda1"), ("/boot", "/dev/sda2")]
    assert notes == ("/boot/efi: not taken over: the boot loader's own, of the old disk",)


def test_outermost_first() -> None:
    there = {f"/dev/sda{number}": "ext4" for number in range(1, 5)}
    table = "/dev/sda4 /var/lib/x ext4\n/dev/sda3 /usr ext4\n/dev/sda2 /var ext4\n"
    found, _ = mounts("/dev/sda1", parse_fstab(table), lambda line: line.device, there)
    assert [place for place, _ in found] == ["/", "/usr", "/var", "/var/lib/x"]


@pytest.mark.parametrize(
    ("written", "device"),
    [
        ("/dev/xvda1", "/dev/sda1"),
        ("/dev/sda15", "/dev/sda15"),
        ("/dev/vda2", "/dev/sda2"),
        ("/dev/nvme0n1p1", "/dev/sda1"),
        ("/dev/xvdb1", ""),
        ("/dev/nvme1n1p1", ""),
        ("/dev/xvda", ""),
        ("/dev/vg/root", "/dev/vg/root"),
        ("tmpfs", ""),
        ("/dev/sda１", ""),  # noqa: RUF001
    ],
)
def test_names_of_the_first_disk(written: str, device: str) -> None:
    assert on_the_first_disk(written) == device
