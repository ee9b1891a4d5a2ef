"""What a guest says of itself, and what is made of it."""

import pytest

from builder.machine.checks import SCRIPT, Check, Expected, judge, parse, took

GOOD = """@@let-in
84.10
@@state
running
@@multi-user
active
@@failed
@@machine
x86_64
@@bits
64
@@kernel
6.1.0-56-cloud-amd64
@@hypervisor
xen
@@late
@@mounts
/dev/xvda1 / ext4 rw,noatime 0 0
proc /proc proc rw 0 0
/dev/xvda2 /mnt ext3 rw,noatime 0 0
@@root
@@serials
@@swaps
/dev/xvda3                              partition\t976556\t\t0\t\t-2
@@fstab
# comment
/dev/xvda1\t/\text4\tdefaults,noatime\t0\t1
/dev/xvda2\t/mnt\tauto\tdefaults,nofail\t0\t0
/dev/xvda3\tnone\tswap\tsw,nofail\t0\t0
/dev/xvdz\t/later\text3\tnoauto\t0\t0
@@devices
/dev/xvda1 /dev/xvda1
/dev/xvda2 /dev/xvda2
/dev/xvda3 /dev/xvda3
@@addresses
2: eth0    inet 10.251.50.35/23 metric 1024 brd 10.251.51.255 scope global dynamic eth0\\       valid_lft 86385sec
@@began
1000
@@host-keys
1012 /etc/ssh/ssh_host_ed25519_key
1011 /etc/ssh/ssh_host_rsa_key
@@asked
92.60
"""
ADDRESS = "2: eth0    inet 10.251.50.35/23 metric 1024 brd 10.251.51.255 scope global eth0\\       valid_lft 86385sec"
EXPECTED = Expected(architecture="x86_64", address="10.251.50.35")


def broken(said: str, expected: Expected = EXPECTED) -> list[tuple[str, str]]:
    return [(each.id, each.says) for each in judge(parse(said), expected) if not each.holds]


def test_how_long_the_questions_took() -> None:
    assert took(parse(GOOD)) == pytest.approx(8.5)
    assert [took(parse(each)) for each in ("", "@@let-in\n84.10\n", "@@let-in\nx\n@@asked\n1\n")] == [0.0, 0.0, 0.0]


def test_a_device_that_was_late() -> None:
    """A line that was mounted at the second try holds, and that is told."""
    told = {each.id: each for each in judge(parse(GOOD.replace("@@late", "@@late\n/dev/xvda3")), EXPECTED)}
    assert told["swap /dev/xvda3"] == Check(
        id="swap /dev/xvda3",
        holds=True,
        says="in use, at the second try: the device was there too late, on a slow machine",
    )
    assert told["mount /mnt"] == Check(id="mount /mnt", holds=True, says="/dev/xvda2 is mounted")


def test_a_good_guest() -> None:
    assert judge(parse(GOOD), EXPECTED) == (
        Check(id="multi-user", holds=True, says="reached"),
        Check(id="units", holds=True, says="no unit failed"),
        Check(id="architecture", holds=True, says="x86_64, Linux 6.1.0-56-cloud-amd64"),
        Check(id="hypervisor", holds=True, says="a guest of Xen"),
        Check(id="dhcp", holds=True, says="has a lease"),
        Check(id="mount /", holds=True, says="/dev/xvda1 is mounted"),
        Check(id="mount /mnt", holds=True, says="/dev/xvda2 is mounted"),
        Check(id="swap /dev/xvda3", holds=True, says="in use"),
        Check(id="host-keys", holds=True, says="2 made at first boot"),
    )


def test_what_can_be_wrong() -> None:
    bad = (
        GOOD.replace("@@multi-user\nactive", "@@multi-user\ninactive")
        .replace("@@failed\n", "@@failed\nssh.service loaded failed failed OpenBSD Secure Shell server\n")
        .replace("@@hypervisor\nxen\n", "@@hypervisor\n")
        .replace("/dev/xvda2 /mnt ext3 rw,noatime 0 0\n", "")
        .replace("/dev/xvda3                              partition\t976556\t\t0\t\t-2\n", "")
        .replace("dynamic ", "")
        .replace("1012 /etc", "900 /etc")
    )
    assert ADDRESS in bad
    assert broken(bad) == [
        ("multi-user", "multi-user.target is inactive"),
        ("units", "ssh.service loaded failed failed OpenBSD Secure Shell server"),
        ("hypervisor", "/sys/hypervisor/type is not there"),
        (
            "dhcp",
            f"10.251.50.35 is not a lease: {ADDRESS}",
        ),
        ("mount /mnt", "/dev/xvda2 of /etc/fstab is not mounted"),
        ("swap /dev/xvda3", "/dev/xvda3 of /etc/fstab is not in use"),
        ("host-keys", "older than this instance: /etc/ssh/ssh_host_ed25519_key"),
    ]


def test_nothing_said_is_nothing_proved() -> None:
    assert [name for name, _ in broken("")] == [
        "multi-user", "architecture", "hypervisor", "dhcp", "host-keys",
    ]  # fmt: skip


def test_a_disk_may_have_another_name_in_the_kernel() -> None:
    """As in a direct boot: /dev/xvda3 is a link to /dev/vdc."""
    said = GOOD.replace("/dev/xvda3 /dev/xvda3", "/dev/xvda3 /dev/vdc").replace("\n/dev/xvda3    ", "\n/dev/vdc    ")
    assert broken(said) == []


def test_32_bit_programs_on_a_64_bit_kernel() -> None:
    expected = Expected(architecture="i386", address="10.251.50.35")
    assert broken(GOOD.replace("@@bits\n64", "@@bits\n32"), expected) == []
    assert [name for name, _ in broken(GOOD, expected)] == ["architecture"]


def test_an_init_with_runlevels() -> None:
    assert broken(GOOD.replace("@@multi-user\nactive", "@@multi-user\nN 3")) == []


def test_the_script_asks_for_all_that_is_judged() -> None:
    asked = [line.split()[1].rstrip(";") for line in SCRIPT.splitlines() if line.startswith("say ")]
    assert asked == list(parse(GOOD))


VOLUME = Expected(architecture="x86_64", address="10.251.50.35", volume=2 << 30, serials=("vol01", "AWS02"))
GROWN = GOOD.replace("@@root\n", "@@root\n36864 4157407 4194304 507899 4096\n").replace(
    "@@serials\n", "@@serials\nvol01\nAWS02\n"
)


def test_a_root_that_has_grown() -> None:
    told = {each.id: each for each in judge(parse(GROWN), VOLUME)}
    assert told["root-size"] == Check(
        id="root-size", holds=True, says="the root has grown to 1983 MiB of a volume of 2048 MiB"
    )
    assert told["disks"] == Check(id="disks", holds=True, says="2 with their serial numbers")


def test_roots_that_have_not() -> None:
    for numbers, says in (
        (
            "36864 2000000 4194304 245504 4096",
            "the volume has 2048 MiB, the disk 2048, the root's partition 976, its file system 959",
        ),
        (
            "36864 4157407 4194304 245504 4096",
            "the volume has 2048 MiB, the disk 2048, the root's partition 2029, its file system 959",
        ),
        (
            "36864 2060255 2097152 250000 4096",
            "the volume has 2048 MiB, the disk 1024, the root's partition 1005, its file system 976",
        ),
        ("", "the root is not on a partition of a disk"),
    ):
        said = GROWN.replace("36864 4157407 4194304 507899 4096", numbers)
        assert broken(said, VOLUME) == [("root-size", says)]


def test_a_disk_that_is_not_there() -> None:
    assert broken(GROWN.replace("AWS02", "AWS03"), VOLUME) == [("disks", "not there: AWS02")]
