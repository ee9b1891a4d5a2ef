"""The verb diff on real file systems: read by libext2fs, and by libguestfs, which must see the same."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.compare.contents import Contents
from builder.compare.differences import compare
from builder.compare.disk import read_disk
from builder.compare.image import Places, by_appliance, read_images
from tests.support.bootable import make_image, make_tree
from tests.support.desk import Desk

pytestmark = pytest.mark.host

STATUS = "Package: {}\nStatus: install ok installed\nInstalled-Size: {}\nArchitecture: amd64\nVersion: {}\n\n"


@pytest.fixture
def desk(tmp_path: Path, downloads: Path) -> Desk:
    made = Desk(path=tmp_path, variables={"XDG_CACHE_HOME": str(downloads)})
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return made


def tree(place: Path) -> Path:
    """With everything that a file system can hold without root: attributes, hard links, a hole, a long link."""
    make_tree(place)
    (place / "etc/fstab").chmod(0o644)
    (place / "var/lib/dpkg").mkdir(parents=True)
    (place / "var/lib/dpkg/status").write_text(STATUS.format("less", 312, "590-1"))
    os.link(place / "etc/fstab", place / "etc/mtab")
    os.setxattr(place / "usr/sbin", "user.note", b"\0\1")
    with (place / "hole").open("wb") as file:
        file.truncate(1_000_000)
    (place / "long").symlink_to("x" * 200)
    (place / "d\u00e4").mkdir()
    return place


def images(place: Path, change: Callable[[Path], Any]) -> tuple[Path, Path]:
    """Two images, the second of a tree that was changed."""
    first = tree(place / "one")
    shutil.copytree(first, place / "two", symlinks=True)
    (place / "two/etc/mtab").unlink()
    os.link(place / "two/etc/fstab", place / "two/etc/mtab")
    change(place / "two")
    options = (
        "-t",
        "ext4",
        "-U",
        "6c3a0a9e-4a0e-4f6c-9f1d-7b1f2f2b8a55",
        "-E",
        "hash_seed=6c3a0a9e-4a0e-4f6c-9f1d-7b1f2f2b8a55",
    )
    return make_image(place / "one", place / "one.raw", *options), make_image(
        place / "two", place / "two.raw", *options
    )


def changed(root: Path) -> None:
    (root / "etc/fstab").write_text("/dev/xvda1 / ext4 defaults,noatime 0 1\n")
    (root / "boot/vmlinuz-6.1").chmod(0o4755)
    (root / "long").unlink()
    (root / "long").symlink_to("y" * 200)
    (root / "etc/shadow").write_text("root:$6$secret:1::::::\n")
    (root / "opt/new").mkdir(parents=True)
    (root / "opt/new/\x1b[2Jfile").write_text("x" * 5000)
    shutil.rmtree(root / "d\u00e4")
    os.setxattr(root / "usr/sbin", "user.note", b"\0\2")
    (root / "var/lib/dpkg/status").write_text(STATUS.format("less", 400, "590-2") + STATUS.format("vim", 9000, "2"))


TOLD = [
    "packages: 1 added, 0 removed, 1 changed (+8.9 MiB)",
    "  + vim 2 amd64  +8.8 MiB",
    "  ~ less 590-1 -> 590-2 amd64  +88.0 KiB",
    "files: 3 added, 1 removed, 7 changed",
    "  ~ /boot/vmlinuz-6.1  mode 0600 -> 4755",
    "  ~ /etc/fstab  content (-63 B)",
    "  ~ /etc/mtab  content (-63 B)",
    "  ~ /etc/shadow  content (+8 B)",
    f"  ~ /long  link {'x' * 200} -> {'y' * 200}",
    "  ~ /usr/sbin  xattrs user.note=0001 -> user.note=0002",
    f"  ~ /var/lib/dpkg/status  content (+{len(STATUS.format('vim', 9000, '2'))} B)",
    "  + /opt  (1 file, 4.9 KiB)",
    "  - /d\u00e4",
    "settings",
    "  /etc/fstab",
    "    @@ -1,2 +1 @@",
    "     /dev/xvda1 / ext4 defaults,noatime 0 1",
    "    -/dev/xvda3 none swap sw,nofail,x-systemd.device-timeout=30 0 0",
]


def test_two_images(desk: Desk) -> None:
    """Every kind of difference is told, no secret is, and nothing is changed or left behind."""
    one, two = images(desk.path, changed)
    before = one.read_bytes(), two.read_bytes()
    done = desk.run("diff", "one.raw", "two.raw")
    lines = [line for line in done.stdout.splitlines() if " in nothing but their time" not in line]
    assert done.code == 1, done.stderr
    titles = [line.partition(", ")[0] if line.startswith("files") else line for line in done.stdout.splitlines()]
    assert [line for line in TOLD if not line.startswith("files") and line not in lines] == []
    assert "files: 3 added" in titles
    assert "secret" not in done.stdout
    assert "\x1b" not in done.stdout
    assert (one.read_bytes(), two.read_bytes()) == before
    assert list((desk.path / "tmp").iterdir()) == []
    document = desk.run("diff", "one.raw", "two.raw", "--json").document
    assert {each["path"] for each in document["files"]["added"]} == {"/opt", "/opt/new", "/opt/new/\x1b[2Jfile"}
    assert document["equal"] is False


def test_equal_images_are_told_by_their_blocks(desk: Desk) -> None:
    one, _ = images(desk.path, lambda root: None)
    shutil.copy(one, desk.path / "copy.raw")
    done = desk.run("diff", "one.raw", "copy.raw")
    assert (done.code, done.stdout, done.stderr) == (0, "", "one.raw and copy.raw are equal\n")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda image: image.write_bytes(bytes(32 << 20)), id="zeros"),
        pytest.param(lambda image: os.truncate(image, 40_000), id="cut short"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_read_is_an_error_not_a_difference(damage: Callable[[Path], Any], desk: Desk) -> None:
    one, two = images(desk.path, lambda root: None)
    damage(two)
    done = desk.run("diff", one.name, two.name)
    assert (done.code, done.stdout) == (2, ""), done.stderr
    assert "two.raw" in done.stderr


@pytest.mark.slow
def test_libguestfs_sees_the_same(tmp_path: Path, downloads: Path) -> None:
    """The two ways to read an image agree in everything, on a file system with all that one can hold."""
    one, two = images(tmp_path, changed)
    places = Places(cache=downloads / "ami-factory" / "appliance", scratch=tmp_path / "scratch")
    places.scratch.mkdir()
    mine = read_images((one, two), places)
    rooms = [tmp_path / "room-1", tmp_path / "room-2"]
    for room in rooms:
        room.mkdir()
    theirs = by_appliance((one, two), [read_disk(one), read_disk(two)], rooms, places)
    for ours, other in zip(mine, theirs, strict=True):
        assert ours.entries == other.entries
        assert ours.packages == other.packages
    assert without_disk(compare(*mine)) == without_disk(compare(*theirs))


def without_disk(found: Any) -> Any:
    return (found.files_added, found.files_removed, found.files_changed, found.times, found.settings)


def test_a_partitioned_disk(tmp_path: Path) -> None:
    """The root is found by what is in it; what lies outside of it is told by digests."""
    file_system, _ = images(tmp_path, lambda root: None)
    disks = []
    for number in (1, 2):
        disk = tmp_path / f"disk-{number}.raw"
        disk.touch()
        os.truncate(disk, 40 << 20)
        table = f"label: dos\nlabel-id: 0x1234567{number}\n2048,2048,da\n4096,65536,L\n"
        subprocess.run(["/usr/sbin/sfdisk", "-q", disk], input=table.encode(), check=True)
        with disk.open("r+b") as file:
            file.seek(4096 * 512)
            file.write(file_system.read_bytes())
            file.seek(2048 * 512)
            file.write(b"%d" % number)
        disks.append(disk)
    place = tmp_path / "scratch"
    place.mkdir()
    first, second = read_images(disks, Places(cache=tmp_path / "cache", scratch=place))
    found = compare(first, second)
    assert isinstance(first, Contents)
    assert "/etc/fstab" in first.entries
    assert [each.name for each in found.disk] == ["disk identity", "partition 1: content (SHA-256)"]
    assert without_disk(found) == ((), (), (), (), ())
