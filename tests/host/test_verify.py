"""Verify's eyes: real images, one launch of libguestfs for all of them."""

import dataclasses
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
from builder.stages.verify import run as verify_run
from builder.stages.verify.facts import check_filesystem, read_facts
from builder.stages.verify.rules import Finding, judge
from builder.stages.verify.run import refusal
from builder.stages.verify.spec import AccountKeys, VerifySpec
from tests.support.bootable import FSTAB, make_image, make_tree, spoil
from tests.support.linted_tree import FOUND, finish, seed

pytestmark = pytest.mark.host

RUNNER = Path(__file__).parents[1] / "support" / "inside.py"

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
    assert said["good"] == ["package-database /var/lib"]
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
        "world-writable /root/.ssh/authorized_keys",
        "package-database /var/lib",
    ]
    assert said["refusal of bad"].startswith("there are 10 faults in the image: /: the file system has ")
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


def test_every_fault_of_hygiene_is_found(tmp_path: Path) -> None:
    """One image with all of them, hostile names, enormous files and loops among them: nothing hangs, nothing is left
    out, and a key that a package brings for everybody is none."""
    make_tree(tmp_path / "tree")
    seed(tmp_path / "tree")
    image = make_image(tmp_path / "tree", tmp_path / "image", "-t", "ext4", "-O", "^64bit,^metadata_csum")
    finish(image)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / appliance.REMEMBERED).write_text("tcg\n")
    facts = verify_run.look(image, menu=SPEC.menu, partitioned=False, cache=tmp_path / "cache", scratch=tmp_path)
    spec = dataclasses.replace(SPEC, authorized_keys=(AccountKeys(user="root", keys=("ssh-ed25519 AAAA x",)),))
    found = [f"{each.severity} {each.id} {each.path}" for each in judge(spec, facts) if each.id != "filesystem-clean"]
    assert sorted(found) == sorted(FOUND)
