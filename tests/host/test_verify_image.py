"""The verb verify on bare images: a good one and a bad one, read through libguestfs by the command itself."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from builder.host import appliance
from tests.support.bootable import make_image, make_tree, spoil
from tests.support.desk import Desk

pytestmark = pytest.mark.host

FOUND = [
    "error filesystem-features /",
    "error filesystem-features /",
    "error kernel /boot/vmlinuz",
    "error initrd /boot/initrd.img",
    "error init /sbin/init",
    "error ssh-enabled /etc/systemd/system",
    "error key-modes /root/.ssh/authorized_keys",
    "error host-keys /etc/ssh/ssh_host_ed25519_key",
    "error world-writable /root/.ssh/authorized_keys",
    "warning package-database /var/lib",
]


@pytest.fixture
def desk(tmp_path: Path, downloads: Path) -> Desk:
    """A desk whose libguestfs appliance is made once for all tests."""
    made = Desk(path=tmp_path, variables={"XDG_CACHE_HOME": str(downloads)})
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    cache = downloads / "ami-factory" / "appliance"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / appliance.REMEMBERED).write_text("tcg\n")
    return made


def test_a_bad_image(desk: Desk) -> None:
    """Every fault is told; the image is as it was, and nothing is left behind."""
    make_tree(desk.path / "tree")
    spoil(desk.path / "tree")
    image = make_image(desk.path / "tree", desk.path / "bad.raw", "-t", "ext4", "-O", "64bit,metadata_csum")
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    with desk.start("verify", "bad.raw", "--json") as process:
        stdout, stderr = process.communicate(timeout=300)  # the appliance may have to be made first
    document: dict[str, Any] = json.loads(stdout)
    assert (document["of"], process.returncode) == ("image", 1), stderr
    assert [f"{each['severity']} {each['id']} {each['where']}" for each in document["findings"]] == FOUND
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert list((desk.path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("head", "said"),
    [
        pytest.param(bytes(510) + b"\x55\xaa" + bytes(4096), "is a disk without a GPT", id="partitions"),
        pytest.param(b"", "is neither a manifest nor an image of a disk, of ext3 or of ext4", id="empty"),
        pytest.param(
            b"\x7fELF" + bytes(5000), "is neither a manifest nor an image of a disk, of ext3 or of ext4", id="other"
        ),
    ],
)
def test_what_is_no_image(head: bytes, said: str, desk: Desk) -> None:
    (desk.path / "disk").write_bytes(head)
    done = desk.run("verify", "disk")
    assert (done.code, done.stderr.splitlines()[0]) == (2, f"error: disk {said}")
