"""HVM guests: QEMU's command line, and which firmware starts what. They are booted in tests/host/test_hvm.py."""

import re
from pathlib import Path

import pytest

from builder.errors import HostError
from builder.machine import hvm, plain, qemu
from builder.machine.guest import Disk, Firmware, GuestSpec, Hvm, classic_mac, firmwares

BIOS, UEFI = Firmware.BIOS, Firmware.UEFI
NETWORK = (
    "user,id=net,net=160.0.0.0/4,host=172.31.0.1,dns=172.31.0.2,dhcpstart=172.31.0.10,hostname=ip-172-31-0-10,"
    "domainname=ec2.internal,restrict=on,"
    'guestfwd=tcp:169.254.169.254:80-cmd:"./python" -I -S ./relay.py metadata 1,'
    'guestfwd=tcp:172.30.2.1:9000-cmd:"./python" -I -S ./relay.py port 9000'
)


def spec(firmware: Firmware = BIOS, *, nitro: bool = True, variables: Path | None = None) -> GuestSpec:
    return GuestSpec(
        name="i-1",
        memory_mib=512,
        vcpus=2,
        disks=(Disk(device="xvda", base=Path("root"), serial="vol01"), Disk(device="", base=Path("store"))),
        mac=classic_mac(1),
        address="172.31.0.10",
        hostname="ip-172-31-0-10",
        hvm=Hvm(firmware=firmware, instance_type="t3.micro", nitro=nitro, variables=variables),
    )


@pytest.mark.parametrize(
    ("mode", "nitro", "expected"),
    [
        ("", True, (BIOS,)),
        ("legacy-bios", True, (BIOS,)),
        ("uefi", True, (UEFI,)),
        ("uefi-preferred", True, (UEFI, BIOS)),
        ("uefi-preferred", False, (BIOS,)),
        ("legacy-bios", False, (BIOS,)),
        ("uefi", False, ()),
    ],
)
def test_firmwares(mode: str, nitro: bool, expected: tuple[Firmware, ...]) -> None:
    assert firmwares(mode, nitro=nitro) == expected


def test_devices() -> None:
    """The root is what the firmware starts from; older types get virtio in place of Xen's disks."""
    assert hvm.devices(spec()) == [
        {"driver": "nvme", "serial": "vol01", "bootindex": 0},
        {"driver": "nvme", "serial": "disk1"},
    ]
    assert [each["driver"] for each in hvm.devices(spec(nitro=False))] == ["virtio-blk-pci"] * 2


def test_command_of_a_bios() -> None:
    """Whole: what is not in it, QEMU does not have (-nodefaults)."""
    command = hvm.command_options(
        spec(), qemu.TCG, place=Path("/place"), console=Path("/logs/a,b.console"), services=(9000,)
    )
    tables = [each for each in command if each.startswith("type=")]
    assert [each.partition("serial=")[0] for each in tables] == [
        "type=0,vendor=Amazon EC2,version=1.0",
        "type=1,manufacturer=Amazon EC2,product=t3.micro,",
        "type=2,manufacturer=Amazon EC2,asset=i-1",
        "type=3,manufacturer=Amazon EC2,asset=Amazon EC2",
    ]
    assert re.search(r"uuid=ec2[0-9a-f]{5}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", tables[1])
    assert [each for each in command if each != "-smbios" and each not in tables] == [
        "-accel", "tcg,thread=multi", "-cpu", "max",
        "-machine", "pc,usb=off,graphics=off",
        "-chardev", "file,id=console,path=/logs/a,,b.console,append=on", "-serial", "chardev:console",
        "-smp", "2", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-S",
        "-netdev",
        NETWORK,
        "-device", "virtio-net-pci,netdev=net,romfile=,mac=12:31:39:00:00:01",
    ]  # fmt: skip
    assert plain.service_address(0) == "172.30.2.1"


def test_variables_of_a_uefi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the firmware's own, once; those that are kept are used again."""
    monkeypatch.setattr(hvm, "VARIABLES", tmp_path / "new.fd")
    (tmp_path / "new.fd").write_bytes(b"new")
    kept = tmp_path / "kept.fd"
    for guest, path in ((spec(UEFI), tmp_path / "variables.fd"), (spec(UEFI, variables=kept), kept)):
        command = hvm.command_options(guest, qemu.KVM, place=tmp_path, console=tmp_path / "console")
        assert f"if=pflash,unit=1,format=raw,file={path}" in command
        assert f"if=pflash,unit=0,format=raw,readonly=on,file={hvm.CODE}" in command
        assert path.read_bytes() == b"new"
    kept.write_bytes(b"written")
    hvm.command_options(spec(UEFI, variables=kept), qemu.KVM, place=tmp_path, console=tmp_path / "console")
    assert kept.read_bytes() == b"written"


def test_a_machine_without_uefi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hvm, "CODE", tmp_path / "nowhere")
    hvm.check_firmware(BIOS)
    with pytest.raises(HostError, match="no UEFI firmware") as caught:
        hvm.check_firmware(UEFI)
    assert caught.value.hint == "run: apt-get install ovmf"
