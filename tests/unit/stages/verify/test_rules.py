"""Every rule, by an image that keeps all of them and one fault at a time."""

import dataclasses
import gzip
import stat
import struct
from pathlib import Path
from typing import Any

import pytest

from builder.stages.verify import rules
from builder.stages.verify.facts import Facts, File
from builder.stages.verify.run import held, refusal
from builder.stages.verify.spec import VerifySpec
from tests.support.boot import elf, initrd

ROOT = Path(__file__).parents[4]
FSTAB = "/dev/xvda1 / ext4 defaults,noatime 0 1\n/dev/xvda2 /mnt auto nofail,x-systemd.device-timeout=30 0 0\n"
MENU = """default 0
timeout 0

title quickstart
\troot (hd0)
\tkernel /boot/vmlinuz-6.1-pv root=/dev/xvda1 ro console=hvc0
\tinitrd /boot/initrd.img-6.1
"""
SPEC = VerifySpec(
    architecture="x86_64",
    fstab=FSTAB,
    menu="/boot/grub/menu.lst",
    grub_root="(hd0)",
    root_device="/dev/xvda1",
    modules=("xen-blkfront", "ext4"),
    payloads=("gzip", "none"),
    renderer="networkd",
    metadata_key=True,
    filesystem="ext4",
    features="^64bit,^metadata_csum",
)


def regular(data: str | bytes = b"", mode: int = 0o644) -> File:
    return File(mode=stat.S_IFREG | mode, data=data.encode() if isinstance(data, str) else data)


def link(target: str) -> File:
    return File(mode=stat.S_IFLNK | 0o777, target=target)


FILES = {
    "/etc/fstab": regular(FSTAB),
    "/boot/grub/menu.lst": regular(MENU),
    "/boot/vmlinuz-6.1-pv": regular(gzip.compress(elf())),
    "/boot/initrd.img-6.1": regular(gzip.compress(initrd("init", "usr/lib/modules/6.1/kernel/xen-blkfront.ko"))),
    "/sbin/init": regular(elf(), 0o755),
    "/etc/passwd": regular("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"),
    "/etc/shadow": regular("root:*:19000::::::\n", 0o640),
    "/etc/machine-id": regular(),
    "/etc/ssh/sshd_config": regular(),
    "/etc/systemd/network/10-ami-factory.network": regular("[Match]\n"),
    "/etc/systemd/system/multi-user.target.wants/ssh.service": link("/usr/lib/systemd/system/ssh.service"),
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": link("/usr/lib/x"),
    "/etc/systemd/system/multi-user.target.wants/ami-factory-ssh-key.service": link("../ami-factory-ssh-key.service"),
    "/root": File(mode=stat.S_IFDIR | 0o700),
    "/root/.ssh": File(mode=stat.S_IFDIR | 0o700),
    "/root/.ssh/authorized_keys": regular("ssh-ed25519 AAAA x\n", 0o600),
}
GOOD = Facts(
    superblock={"Filesystem features": "has_journal ext_attr extent sparse_super"},
    complaints="",
    files=FILES,
    modules_builtin="kernel/fs/ext4/ext4.ko\n",
)


def changed(path: str, file: File | str | bytes | None) -> Facts:
    """The good image with one file other, or (None) without it."""
    files = {name: each for name, each in FILES.items() if name != path}
    if file is not None:
        files[path] = file if isinstance(file, File) else regular(file)
    return dataclasses.replace(GOOD, files=files)


def spec(**other: Any) -> VerifySpec:
    return dataclasses.replace(SPEC, **other)


def found(facts: Facts, of: VerifySpec = SPEC) -> list[tuple[str, str]]:
    return [(each.id, each.path) for each in rules.judge(of, facts)]


def test_a_good_image_keeps_all_rules() -> None:
    assert rules.judge(SPEC, GOOD) == ()
    assert held(SPEC, ()) == list(rules.RULES)


ETC = "/etc/systemd/system"
WANTS = f"{ETC}/multi-user.target.wants"
MENU_PATH = "/boot/grub/menu.lst"
KERNEL = "/boot/vmlinuz-6.1-pv"
INITRD = "/boot/initrd.img-6.1"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(changed("/etc/fstab", None), [("fstab", "/etc/fstab")], id="no-fstab"),
        pytest.param(changed("/etc/fstab", "/dev/xvda1\n"), [("fstab", "/etc/fstab")], id="fstab-broken"),
        pytest.param(
            changed("/etc/fstab", FSTAB.replace("xvda2", "xvdb")), [("fstab", "/etc/fstab")], id="fstab-other-disk"
        ),
        pytest.param(
            changed("/etc/fstab", FSTAB.replace("xvda1", "sda1")), [("fstab", "/etc/fstab")] * 2, id="fstab-other-root"
        ),
        pytest.param(
            changed("/etc/fstab", FSTAB + "/dev/xvdz /data ext4 defaults 0 0\n"),
            [("fstab", "/etc/fstab")] * 2,
            id="fstab-holds-up-the-boot",
        ),
        pytest.param(changed(MENU_PATH, None), [("boot-menu", MENU_PATH)], id="no-menu"),
        pytest.param(changed(MENU_PATH, "title x\n"), [("boot-menu", MENU_PATH)], id="menu-broken"),
        pytest.param(changed(MENU_PATH, MENU.replace("(hd0)", "(hd0,0)")), [("boot-menu", MENU_PATH)], id="menu-root"),
        pytest.param(
            changed(MENU_PATH, MENU.replace("xvda1", "sda1")), [("boot-menu", MENU_PATH)], id="menu-root-device"
        ),
        pytest.param(
            changed(MENU_PATH, MENU.replace("\tinitrd", "\t#")), [("boot-menu", MENU_PATH)], id="menu-no-initrd"
        ),
        pytest.param(changed(KERNEL, None), [("kernel", KERNEL)], id="no-kernel"),
        pytest.param(changed(KERNEL, "text"), [("kernel", KERNEL)], id="kernel-is-text"),
        pytest.param(changed(KERNEL, gzip.compress(elf(bits=32))), [("kernel", KERNEL)], id="kernel-32-bit"),
        pytest.param(changed(KERNEL, gzip.compress(elf(xen=False))), [("kernel", KERNEL)], id="kernel-not-pv"),
        pytest.param(changed(INITRD, None), [("initrd", INITRD)], id="no-initrd"),
        pytest.param(changed(INITRD, b"\x1f\x8bdamaged"), [("initrd", INITRD)], id="initrd-damaged"),
        pytest.param(changed(INITRD, initrd("init")), [("initrd", INITRD)], id="initrd-lacks-a-module"),
        pytest.param(changed(INITRD, initrd("x/xen-blkfront.ko")), [("initrd", INITRD)], id="initrd-lacks-init"),
        pytest.param(changed("/sbin/init", None), [("init", "/sbin/init")], id="no-init"),
        pytest.param(changed("/sbin/init", "#!/bin/sh\n"), [("init", "/sbin/init")], id="init-script"),
        pytest.param(changed("/sbin/init", elf(bits=32)), [("init", "/sbin/init")], id="init-32-bit"),
        pytest.param(changed(f"{WANTS}/ssh.service", None), [("ssh-enabled", ETC)], id="ssh-disabled"),
        pytest.param(changed(f"{ETC}/ssh.service", link("/dev/null")), [("ssh-enabled", ETC)], id="ssh-masked"),
        pytest.param(
            changed(f"{WANTS}/systemd-networkd.service", None), [("network-enabled", ETC)], id="network-disabled"
        ),
        pytest.param(
            changed("/etc/systemd/network/10-ami-factory.network", None),
            [("network-enabled", "/etc/systemd/network/10-ami-factory.network")],
            id="network-unconfigured",
        ),
        pytest.param(
            changed(f"{WANTS}/ami-factory-ssh-key.service", None),
            [("launch-key", f"{ETC}/ami-factory-ssh-key.service")],
            id="no-launch-key",
        ),
        pytest.param(
            changed("/root/.ssh/authorized_keys", regular("k", 0o660)),
            [("key-modes", "/root/.ssh/authorized_keys")],
            id="keys-group-writable",
        ),
        pytest.param(
            changed("/root/.ssh", File(mode=stat.S_IFDIR | 0o777)),
            [("key-modes", "/root/.ssh")],
            id="ssh-world-writable",
        ),
        pytest.param(
            changed("/etc/ssh/ssh_host_rsa_key", "k"), [("host-keys", "/etc/ssh/ssh_host_rsa_key")], id="host-key"
        ),
        pytest.param(changed("/etc/machine-id", "ab" * 16), [("identity", "/etc/machine-id")], id="machine-id"),
        pytest.param(
            changed("/var/lib/systemd/random-seed", "r"),
            [("identity", "/var/lib/systemd/random-seed")],
            id="random-seed",
        ),
        pytest.param(changed("/etc/shadow", "root::1::::::\n"), [("root-password", "/etc/shadow")], id="no-password"),
        pytest.param(
            changed("/etc/shadow", "root:$6$x:1::::::\n"), [("root-password", "/etc/shadow")], id="a-password"
        ),
        pytest.param(
            dataclasses.replace(GOOD, superblock={"Filesystem features": "has_journal"}),
            [("filesystem-type", "/")],
            id="ext3",
        ),
        pytest.param(
            dataclasses.replace(GOOD, superblock={"Filesystem features": "has_journal extent 64bit metadata_csum"}),
            [("filesystem-features", "/")] * 2,
            id="features",
        ),
        pytest.param(
            dataclasses.replace(GOOD, complaints="root: ***** WARNING: errors *****"),
            [("filesystem-clean", "/")],
            id="fsck",
        ),
    ],
)
def test_one_fault_at_a_time(facts: Facts, expected: list[tuple[str, str]]) -> None:
    assert found(facts) == expected


@pytest.mark.parametrize(
    ("of", "facts", "expected"),
    [
        pytest.param(spec(payloads=("xz",)), GOOD, [("kernel", KERNEL)], id="payload-not-read"),
        pytest.param(spec(features="extents,uninit_bg"), GOOD, [("filesystem-features", "/")], id="feature-missing"),
        pytest.param(spec(metadata_key=False), GOOD, [], id="built-in-key-is-enough"),
        pytest.param(
            spec(metadata_key=False),
            changed("/root/.ssh/authorized_keys", None),
            [("launch-key", "/root/.ssh/authorized_keys")],
            id="nobody-can-log-in",
        ),
        pytest.param(
            spec(pv_note="too new"),
            changed(KERNEL, gzip.compress(elf(xen=False))),
            [("paravirtual", KERNEL)],
            id="pv-note",
        ),
        pytest.param(
            spec(renderer="ifcfg"),
            dataclasses.replace(
                GOOD,
                files={
                    **FILES,
                    "/etc/sysconfig/network-scripts/ifcfg-eth0": regular(),
                    "/etc/rc.d/rc3.d/S10network": link("../init.d/network"),
                },
            ),
            [],
            id="ifcfg-by-a-script",
        ),
    ],
)
def test_what_the_spec_asks_for(of: VerifySpec, facts: Facts, expected: list[tuple[str, str]]) -> None:
    assert found(facts, of) == expected


def test_a_warning_is_no_error() -> None:
    [finding] = rules.judge(spec(pv_note="too new"), GOOD)
    assert (finding.severity, finding.why) == ("warning", "too new")


def test_links_are_followed_inside_the_facts_only() -> None:
    facts = dataclasses.replace(
        GOOD,
        files={
            "/etc/a": link("../etc/b"),
            "/etc/b": link("/etc/c"),
            "/etc/c": regular("found"),
            "/etc/up": link("../../../etc/c"),
            "/etc/loop": link("loop"),
            "/etc/out": link("/usr/nowhere"),
        },
    )
    assert [facts.text(f"/etc/{name}") for name in ("a", "up", "loop", "out")] == ["found", "found", None, None]


def test_all_errors_at_once() -> None:
    facts = dataclasses.replace(GOOD, files={}, superblock={})
    findings = rules.judge(SPEC, facts)
    error = refusal(list(findings))
    assert len(findings) == len(error.detail.splitlines()) // 2 > 6
    assert error.brief.startswith(
        f"there are {len(findings)} faults in the image: /: the file system is ext2, not ext4"
    )
    assert all(finding.id in error.detail for finding in findings)
    assert "kernel" in held(SPEC, findings)  # no menu, so nothing to say of a kernel


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 5000, b"\x7fELF\x02" + b"\xff" * 200, struct.pack("<I", 0x30373037) * 100]
)
def test_no_bytes_of_an_image_make_a_traceback(damage: bytes) -> None:
    for path in FILES:
        assert isinstance(rules.judge(SPEC, changed(path, damage)), tuple)
