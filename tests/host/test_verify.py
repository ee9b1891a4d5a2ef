"""Verify's eyes: real images, one launch of libguestfs for all of them."""

import gzip
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.errors import HostError
from builder.host import appliance
from builder.stages.verify.facts import check_filesystem, read_facts
from builder.stages.verify.rules import Finding, judge
from builder.stages.verify.run import refusal
from builder.stages.verify.spec import VerifySpec
from tests.support.boot import elf, initrd

pytestmark = pytest.mark.host

RUNNER = Path(__file__).parents[1] / "support" / "inside.py"

FSTAB = "/dev/xvda1 / ext4 defaults,noatime 0 1\n/dev/xvda3 none swap sw,nofail,x-systemd.device-timeout=30 0 0\n"
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
MENU = "default 0\ntimeout 0\ntitle x\nroot (hd0)\nkernel /boot/vmlinuz root=/dev/xvda1 ro\ninitrd /boot/initrd.img\n"
WANTS = "etc/systemd/system/multi-user.target.wants"


def make_tree(root: Path) -> None:
    """A tree that keeps all rules; its owner is whoever runs this."""
    files = {
        "etc/fstab": FSTAB,
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/shadow": "root:*:1::::::\n",
        "etc/machine-id": "",
        "etc/systemd/network/10-ami-factory.network": "[Match]\n",
        "boot/grub/menu.lst": MENU,
        "boot/vmlinuz-6.1": gzip.compress(elf()) + bytes(5_000_000),
        "boot/initrd.img": gzip.compress(initrd("init", "usr/lib/modules/6.1/kernel/xen-blkfront.ko")),
        "usr/lib/modules/6.1/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
        "usr/lib/systemd/systemd": elf(),
        "root/.ssh/authorized_keys": "ssh-ed25519 AAAA x\n",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
        (root / name).chmod(0o600)
    links = {
        "sbin": "usr/sbin",
        "usr/sbin/init": "/usr/lib/systemd/systemd",
        "boot/vmlinuz": "vmlinuz-6.1",
        f"{WANTS}/ssh.service": "/usr/lib/systemd/system/ssh.service",
        f"{WANTS}/systemd-networkd.service": "/usr/lib/systemd/system/systemd-networkd.service",
        f"{WANTS}/ami-factory-ssh-key.service": "/etc/systemd/system/ami-factory-ssh-key.service",
    }
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)


def spoil(root: Path) -> None:
    """One fault of every kind that only a real image shows."""
    (root / "usr/sbin/init").unlink()
    (root / "usr/sbin/init").symlink_to("/etc/passwd")
    (root / "boot/vmlinuz").unlink()
    (root / "boot/vmlinuz").symlink_to("../../../../boot/nowhere")
    (root / "root/.ssh/authorized_keys").chmod(0o666)
    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/ssh_host_ed25519_key").write_text("key")
    (root / "etc/fstab").write_text(FSTAB.replace("xvda3", "xvdz"))
    (root / WANTS / "ssh.service").unlink()


def make_image(tree: Path, image: Path, *options: str) -> Path:
    image.touch()
    os.truncate(image, 32 * 1024**2)
    command = ["mke2fs", "-q", "-F", *options, "-d", tree, image]
    subprocess.run(command, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}, check=True)
    return image


def look(base: str) -> dict[str, Any]:
    """Make three images, and read them in one session."""
    place = Path(base)
    for name, change in (("good", None), ("bad", spoil)):
        make_tree(place / name)
        if change:
            change(place / name)
    (place / "empty").mkdir()
    images = [
        make_image(place / "good", place / "good.raw", "-t", "ext4", "-O", "^64bit,^metadata_csum"),
        make_image(place / "bad", place / "bad.raw", "-t", "ext4", "-O", "64bit,metadata_csum"),
        make_image(place / "empty", place / "empty.raw", "-t", "ext3"),
    ]
    said: dict[str, Any] = {}
    (place / "cache").mkdir()
    (place / "cache" / appliance.REMEMBERED).write_text("tcg\n")  # What is tried has a test of its own.
    with appliance.opened(images, cache=place / "cache", scratch=place) as handle:
        for device, image in zip(("/dev/sda", "/dev/sdb", "/dev/sdc"), images, strict=True):
            complaints = check_filesystem(image)
            facts = read_facts(handle, device, menu=SPEC.menu, complaints=complaints, scratch=place)
            findings = judge(SPEC, facts)
            said[image.stem] = [f"{each.id} {each.path}" for each in findings]
            if image.stem == "good":
                keys = facts.files["/root/.ssh/authorized_keys"]
                said["keys"] = [oct(keys.mode), keys.uid, keys.data.decode()]
                said["kernel size"] = len(facts.files["/boot/vmlinuz"].data)
            else:
                said[f"refusal of {image.stem}"] = refusal([*findings]).brief
    return said


def look_as(user: str, base: Path) -> dict[str, Any]:
    """Call `look` as another user."""
    call = [sys.executable, RUNNER, __file__, "look", json.dumps({"base": str(base)})]
    done = subprocess.run(["runuser", "-u", user, "--", *call], capture_output=True, check=True, cwd="/")
    return dict(json.loads(done.stdout)["result"])


@pytest.mark.parametrize("as_other", [False, True], ids=["me", "another-user"])
def test_images_of_every_kind(trees: Path, as_other: bool, request: pytest.FixtureRequest) -> None:
    """Outside the namespace: there, an ordinary user's supermin takes the host's set-user-id programs for nobody's."""
    if as_other:
        user = request.getfixturevalue("other_user")
        said, owner = look_as(user, trees), pwd.getpwnam(user).pw_uid
    else:
        said, owner = look(str(trees)), os.getuid()
    assert said["good"] == []
    assert said["keys"] == ["0o100600", owner, "ssh-ed25519 AAAA x\n"]
    assert said["kernel size"] > 5_000_000
    assert said["bad"] == [
        "filesystem-features /",
        "filesystem-features /",
        "fstab /etc/fstab",
        "kernel /boot/vmlinuz",
        "init /sbin/init",
        "ssh-enabled /etc/systemd/system",
        "key-modes /root/.ssh/authorized_keys",
        "host-keys /etc/ssh/ssh_host_ed25519_key",
    ]
    assert said["refusal of bad"].startswith("there are 8 faults in the image: /: the file system has ")
    assert said["empty"][:4] == [
        "filesystem-type /",
        "fstab /etc/fstab",
        "boot-menu /boot/grub/menu.lst",
        "init /sbin/init",
    ]


def test_e2fsck_sees_damage(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    image = make_image(tmp_path / "tree", tmp_path / "image", "-t", "ext4")
    before = image.read_bytes()
    assert check_filesystem(image) == ""
    with image.open("r+b") as file:
        file.seek(1024 + 12)  # the count of free blocks
        file.write(b"\xff\xff\xff\x00")
    damaged = image.read_bytes()
    assert check_filesystem(image)
    assert image.read_bytes() == damaged != before


def test_the_accelerator_is_tried_once_and_in_time(tmp_path: Path) -> None:
    assert not appliance.accessible(tmp_path / "kvm")
    (tmp_path / "kvm").touch()
    assert appliance.accessible(tmp_path / "kvm")
    assert appliance.works(["true"])
    assert not appliance.works(["timeout", "--kill-after=1", "0.2", "sleep", "60"])
    command = appliance.trial_command(tmp_path / "cache", tmp_path)
    assert command[:4] == ["timeout", "--foreground", "--kill-after=20", "20"]
    assert command[-4:] == ["-m", "builder.host.appliance", str(tmp_path / "cache"), str(tmp_path)]


def test_an_appliance_that_does_not_start_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="libguestfs could not start") as caught:
        appliance.launch([tmp_path / "no such image"], tmp_path, tmp_path, force_tcg=True)
    assert "libguestfs-test-tool" in caught.value.hint


def test_an_unreadable_kernel_is_named() -> None:
    assert "chmod +r /boot/vmlinuz-6" in appliance.launch_hint([Path("/boot/vmlinuz-6")])


def test_one_fault_reads_as_one() -> None:
    error = refusal([Finding(id="x", path="/etc/x", why="it is wrong", remedy="mend it")])
    assert error.brief == "there is 1 fault in the image: /etc/x: it is wrong (x)"
    assert (error.detail, error.hint) == ("/etc/x: it is wrong (x)\n  mend it", "mend it")
