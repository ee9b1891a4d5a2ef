"""How Xen is told of a guest."""

from pathlib import Path

from builder.machine.guest import Disk, GuestSpec, OwnKernel, classic_mac, classic_name, format_domain

SPEC = GuestSpec(
    name="i-1",
    memory_mib=512,
    vcpus=2,
    disks=(Disk(device="sda1", base=Path("/a")), Disk(device="sda2", base=Path("/b"))),
    mac="12:31:39:00:00:01",
    address="10.251.50.35",
    hostname="ip-10-251-50-35",
)


def test_a_guest_of_the_loader() -> None:
    assert format_domain(SPEC, slot=3, nodes=("/dev/sda", "/dev/sdb")).splitlines() == [
        'name = "g3"',
        'type = "pv"',
        'kernel = "/boot/pv-grub-hd0.bin"',
        "memory = 512",
        "vcpus = 2",
        'disk = ["phy:/dev/sda,sda1,w", "phy:/dev/sdb,sda2,w"]',
        'vif = ["mac=12:31:39:00:00:01,script=vif,vifname=g3"]',
        'on_poweroff = "destroy"',
        'on_reboot = "destroy"',
        'on_crash = "destroy"',
        'on_watchdog = "destroy"',
    ]


def test_a_kernel_of_its_own_cannot_leave_its_string() -> None:
    from dataclasses import replace

    kernel = OwnKernel(kernel=Path("/k"), ramdisk=Path("/r"), arguments='root=/dev/sda1 "\nname="x" ro\\')
    lines = format_domain(replace(SPEC, kernel=kernel), slot=1, nodes=("/dev/sda", "/dev/sdb")).splitlines()
    assert lines[2:5] == [
        'kernel = "/run/guests/1/kernel"',
        'extra = "root=/dev/sda1 name=x ro"',
        'ramdisk = "/run/guests/1/ramdisk"',
    ]


def test_classic_names() -> None:
    assert (classic_name("10.251.50.35"), classic_mac(0x1F35)) == ("ip-10-251-50-35", "12:31:39:00:1f:35")
