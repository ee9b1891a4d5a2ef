"""HVM guests in QEMU: what firmware starts them, how they end, and what their disks keep.

The guest is a boot sector. It adds one to a byte of the second sector, says that digit on the serial line, and resets.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.machine import causes
from builder.machine.created import Guest
from builder.machine.guest import Disk, End, Firmware, GuestSpec, Hvm, classic_mac
from builder.machine.hvm import HvmHost

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("qemu")]
PATIENCE = 200.0  # emulated, and perhaps beside other tests
# int 13h, 42h and 43h (Enhanced Disk Drive) with the packet at 7c2ah; COM1; the keyboard controller's reset.
COUNTER = bytes.fromhex(
    "31c0 8ed8 be2a7c b442 cd13 fe060080 be2a7c b80043 cd13 baf803 a00080 0430 ee b00a ee b0fe e664 f4 ebfd"
    "1000 0100 0080 0000 0100000000000000"
)


@pytest.fixture
def host(downloads: Path, tmp_path: Path) -> Iterator[HvmHost]:
    with HvmHost(cache=downloads, scratch=tmp_path / "scratch", logs=tmp_path / "logs") as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(COUNTER.ljust(510, b"\0") + b"\x55\xaa" + bytes(2**20 - 512))
    return path


def spec(name: str, disk: Disk, *, firmware: Firmware = Firmware.BIOS, nitro: bool = True) -> GuestSpec:
    return GuestSpec(
        name=name,
        memory_mib=128,
        vcpus=1,
        disks=(disk,),
        mac=classic_mac(1),
        address="172.31.0.10",
        hostname="ip-172-31-0-10",
        hvm=Hvm(firmware=firmware, instance_type="t3.micro", nitro=nitro),
    )


def ended(guest: Guest) -> End:
    end = guest.wait(PATIENCE)
    assert end is not None, guest.console_text()
    return end


def digits(guest: Guest) -> str:
    """What the guest has said, perhaps within SeaBIOS's own last line: "Booting from Hard Disk..."."""
    return "".join(re.findall(r"(?m)(?:^|\.)(\d)$", causes.plain(guest.console_text())))


@pytest.mark.parametrize("nitro", [True, False], ids=["nvme", "virtio"])
def test_a_guest_restarts_with_its_disk(host: HvmHost, disk: Path, nitro: bool) -> None:
    """And the image below is never written to."""
    before = hashlib.sha256(disk.read_bytes()).digest()
    guest = host.create(spec("i-1", Disk(device="xvda", base=disk, serial="vol01"), nitro=nitro))
    assert (ended(guest), digits(guest)) == (End(reason="reboot"), "1")
    again = host.restart(guest)
    assert (ended(again), digits(again)) == (End(reason="reboot"), "12")
    host.remove(again)
    fresh = host.create(spec("i-2", Disk(device="xvda", base=disk), nitro=nitro))
    assert (ended(fresh), digits(fresh)) == (End(reason="reboot"), "1")
    assert hashlib.sha256(disk.read_bytes()).digest() == before


def test_a_volume_keeps_what_was_written(host: HvmHost, disk: Path, tmp_path: Path) -> None:
    """It is larger than what is below, and outlives its guest, its host and its QEMU."""
    volume = Disk(device="xvda", base=disk, size=2**22, overlay=tmp_path / "volume.qcow2")
    for expected in ("1", "12", "123"):
        guest = host.create(spec("i-1", volume))
        assert (ended(guest), digits(guest)) == (End(reason="reboot"), expected)
        host.remove(guest)
    assert [path.name for path in tmp_path.iterdir() if "qcow2" in path.name] == ["volume.qcow2"]


def test_an_end_from_outside(host: HvmHost, disk: Path) -> None:
    """A disk that nothing starts from: the guest is there until it is told to end."""
    disk.write_bytes(bytes(2**20))
    guest = host.create(spec("i-1", Disk(device="xvda", base=disk)))
    until = time.monotonic() + PATIENCE
    while (cause := causes.cause_of(guest.console_text())) is None:
        assert time.monotonic() < until, guest.console_text()
        time.sleep(0.1)
    assert (cause.id, guest.end) == ("not-bootable", None)
    host.destroy(guest)
    assert guest.wait(0) == End(reason="destroyed")


@pytest.mark.slow
def test_a_uefi_that_finds_nothing(host: HvmHost, disk: Path) -> None:
    """A boot sector is nothing to it."""
    guest = host.create(spec("i-1", Disk(device="xvda", base=disk), firmware=Firmware.UEFI))
    until = time.monotonic() + PATIENCE
    while (cause := causes.cause_of(guest.console_text())) is None:
        assert time.monotonic() < until, guest.console_text()
        time.sleep(0.2)
    assert cause.id == "not-bootable"
    assert digits(guest) == ""


def test_a_host_that_is_closed_leaves_nothing(downloads: Path, disk: Path, tmp_path: Path) -> None:
    with HvmHost(cache=downloads, scratch=tmp_path / "scratch", logs=tmp_path / "logs") as host:
        guest = host.create(spec("i-1", Disk(device="xvda", base=disk)))
    assert ended(guest).reason in ("destroyed", "reboot")
    assert list((tmp_path / "scratch").iterdir()) == []
