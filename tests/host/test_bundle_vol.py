"""ec2-bundle-vol on real trees and mounts; what comes out is undone and read by openssl, tar and e2fsprogs."""

import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.bundles import make_user
from tests.support.classic import Shell
from tests.support.desk import Done
from tests.support.metadata import metadata_service

pytestmark = pytest.mark.host
MIB = 1024**2
EPOCH = 1_700_000_000
HOSTILE = (
    'new\nline "quoted"',
    " lead",
    "trail ",
    "-n",
    "$(reboot)",
    "back\\slash",
    "\udcff\udcfe",
    "ü" * 127,
    "*?[a]",
)
# Kept, left out by name, or emptied: what the rules say of the tree below.
FILTERED = {"etc/pki/tls/cert.pem", "root/.bash_history", "root/.ssh/authorized_keys", "root/.ssh/id_rsa"}
INSIDE_EMPTIED = {"proc/1", "mnt/data", "mnt/data/file", "dev/sda1", "sys/kernel", "media/cdrom"}
SOCKET = "run/socket"


@pytest.fixture
def place() -> Iterator[Path]:
    """Not in tmp_path: the rules look at whole paths, and another user must come here."""
    path = Path(subprocess.check_output(["mktemp", "-d", "-t", "ami-factory-vol.XXXXXX"], text=True).strip())
    path.chmod(0o755)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture
def shell(place: Path) -> Shell:
    return Shell(path=place, state=place / "state")


@pytest.fixture
def tree(place: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can make files of others")
    return plant(place / "tree")


def plant(tree: Path) -> Path:
    def put(path: str, data: str = "", mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Path:
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(data or path, errors="surrogateescape")
        os.chown(file, *owner)
        file.chmod(mode)
        return file

    for path in FILTERED | INSIDE_EMPTIED - {"proc/1", "mnt/data", "sys/kernel", "media/cdrom"}:
        put(path)
    for path in ("proc/1", "sys/kernel", "media/cdrom", "var/empty", "tmp"):
        (tree / path).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    put("etc/fstab", "LABEL=web / ext4 defaults 1 1\n")
    put("home/user/file", owner=(1000, 70000))
    os.chown(tree / "home/user", 1000, 70000)
    (tree / "home/user").chmod(0o2750)
    os.setxattr(tree / "home/user", "user.note", b"kept")
    put("bin/su", mode=0o4755)
    os.setxattr(put("bin/ping"), "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    put("etc/shadow", mode=0o000, owner=(0, 42))
    for name in HOSTILE:
        put(f"srv/{name}/{name}")
    os.link(tree / "etc/fstab", tree / "srv/hard link")
    (tree / "bin/sh").symlink_to("/bin/bash")
    (tree / "srv/long link").symlink_to("x" * 300)
    (tree / "srv/sparse").touch()
    os.truncate(tree / "srv/sparse", 300 * MIB)
    (tree / "srv/noise").write_bytes(os.urandom(3_000_001))
    os.mkfifo(tree / "run-fifo")
    os.mknod(tree / "srv/tape", stat.S_IFCHR | 0o600, os.makedev(9, 1))
    (tree / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tree / SOCKET))
    for path in walk(tree):
        os.utime(path, (EPOCH - 100, EPOCH - 200), follow_symlinks=False)
    os.utime(tree, (EPOCH - 100, EPOCH - 300))
    tree.chmod(0o751)
    return tree


def walk(root: Path) -> Iterator[Path]:
    """Path.rglob of Python 3.11 fails at links to what no name can be."""
    for directory, inner, files in os.walk(root):
        yield from (Path(directory, name) for name in (*inner, *files))


def bundle(shell: Shell, tree: Path, *words: str | Path, code: int = 0, name: str = "image") -> Done:
    out = shell.path / "out"
    out.mkdir(exist_ok=True)
    done = shell.run(
        "ec2-bundle-vol", "-v", tree, "-d", out, "-r", "x86_64", "-s", "64", "-p", name, "--region", "local",
        *(() if any(str(each).endswith("-inherit") for each in words) else ("--no-inherit",)), *words,
    )  # fmt: skip
    assert done.code == code, done.stderr
    return done


def unbundled(shell: Shell, name: str = "image") -> Path:
    """The image out of the bundle, by openssl, gunzip and tar."""
    out = shell.path / "out"
    manifest = ElementTree.parse(out / f"{name}.manifest.xml")
    key_file = next(iter((shell.state / "ami-factory/identity").glob("private-key.pem")))

    def secret(field: str) -> str:
        wrapped = bytes.fromhex(manifest.findtext(f"image/user_encrypted_{field}") or "")
        command = ["openssl", "pkeyutl", "-decrypt", "-inkey", key_file, "-pkeyopt", "rsa_padding_mode:pkcs1"]
        return subprocess.run(command, input=wrapped, capture_output=True, check=True).stdout.decode()

    parts = [str(out / str(each.text)) for each in manifest.iterfind("image/parts/part/filename")]
    target = shell.path / "undone"
    target.mkdir()
    pipeline = 'cat "${@:4}" | openssl enc -d -aes-128-cbc -K "$1" -iv "$2" | gunzip | tar -xS -C "$3"'
    command = ["bash", "-euo", "pipefail", "-c", pipeline, "-", secret("key"), secret("iv"), str(target), *parts]
    subprocess.run(command, check=True)
    return target / name


def debugfs(image: Path, request: str) -> str:
    done = subprocess.run(["debugfs", "-R", request, image], capture_output=True, check=True)
    return done.stdout.decode(errors="surrogateescape")


def dumped(image: Path, target: Path) -> Path:
    """What debugfs takes out of an image: files, directories and links, with owners, modes and times."""
    target.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {target}", image], capture_output=True, check=True)
    return target


def described(root: Path, *, with_times: bool = True) -> dict[str, Any]:
    """Every file, directory and link below a root."""
    found: dict[str, Any] = {}
    for path in walk(root):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        facts: list[Any] = [kind, status.st_uid, status.st_gid]
        if kind == stat.S_IFLNK:
            facts.append(str(path.readlink()))
        else:
            facts.append(status.st_mode & 0o777)  # debugfs takes out no more
            facts += [int(status.st_mtime)] if with_times else []
        if kind == stat.S_IFREG:
            facts += [status.st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        if kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            found[str(path.relative_to(root))] = facts
    return found


def clean(image: Path) -> None:
    checked = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def nothing_left(place: Path, *kept: str) -> None:
    assert sorted(each.name for each in (place / "out").iterdir()) == sorted(kept)
    assert str(place) not in Path("/proc/self/mountinfo").read_text()


BUNDLE = ("image", "image.manifest.xml", "image.part.0")


def test_a_tree_comes_out_as_it_went_in(shell: Shell, tree: Path) -> None:
    before = described(tree)
    for path in [tree, *walk(tree)]:  # older than a day: reading would change them
        os.utime(path, ns=(0, path.lstat().st_mtime_ns), follow_symlinks=False)
    stamp = tree.stat()
    done = bundle(shell, tree)
    assert {path.lstat().st_atime for path in (tree, tree / "etc", tree / "etc/fstab", tree / "root/.ssh")} == {0}
    assert described(tree) == before
    assert (tree.stat().st_mtime_ns, tree.stat().st_ctime_ns) == (stamp.st_mtime_ns, stamp.st_ctime_ns)
    assert done.stdout.splitlines()[-1] == "ec2-bundle-vol complete."
    nothing_left(shell.path, *BUNDLE)
    assert stat.S_IMODE((shell.path / "out/image").stat().st_mode) == 0o600

    image = unbundled(shell)
    assert subprocess.run(["cmp", image, shell.path / "out/image"], check=False).returncode == 0
    assert image.stat().st_size == 64 * MIB
    clean(image)
    expected = {path: facts for path, facts in before.items() if path not in FILTERED | INSIDE_EMPTIED}
    found = described(dumped(image, shell.path / "dump"))
    assert found.pop("lost+found")[0] == stat.S_IFDIR
    assert found == expected
    assert before.keys() >= FILTERED | INSIDE_EMPTIED

    assert re.search(r"Mode:  0751 (?s:.*)User: +0 +Group: +0", debugfs(image, "stat /"))
    assert f"mtime: 0x{EPOCH - 300:x}" in debugfs(image, "stat /")
    for path, mode in (("/bin/su", "04755"), ("/tmp", "01777"), ("/home/user", "02750"), ("/etc/shadow", "0000")):
        assert f"Mode:  {mode} " in debugfs(image, f"stat {path}")
    assert "Links: 2" in debugfs(image, "stat /etc/fstab")
    assert 'user.note (4) = "kept"' in debugfs(image, "ea_list /home/user")
    assert "01 00 00 02 00 20" in debugfs(image, "ea_list /bin/ping")
    assert "Type: FIFO" in debugfs(image, "stat /run-fifo")
    assert "Type: character special" in debugfs(image, "stat /srv/tape")
    assert "09:01" in debugfs(image, "stat /srv/tape")
    assert int(re.findall(r"Blockcount: (\d+)", debugfs(image, "stat /srv/sparse"))[0]) == 0
    assert "socket" not in debugfs(image, "ls /run")
    nodes = re.findall(r"/\d+/(\d+)/0/0/(\w+)/", debugfs(image, "ls -p /dev"))
    assert nodes == [("020600", "console"), ("020666", "null"), ("020666", "tty"), ("020666", "zero")]
    header = subprocess.check_output(["dumpe2fs", "-h", image], stderr=subprocess.DEVNULL, text=True)
    assert re.search(r"volume name: +web\n", header)  # as the tree's own fstab calls its root
    assert re.search(r"features: .*extent", header)
    assert "64bit" not in header
    assert "metadata_csum" not in header


def test_what_was_left_out_is_said(shell: Shell, tree: Path) -> None:
    said = bundle(shell, tree).stderr
    assert (
        "4 left out" in said
        or "left out for names that secrets often have (--include PATH,... keeps some, "
        "--no-filter all): /etc/pki/tls/cert.pem, /root/.bash_history, /root/.ssh/authorized_keys, /root/.ssh/id_rsa\n"
        in said
    )
    assert f"1 left out, being sockets: /{SOCKET}\n" in said
    assert "image: ext4, label web, UUID " in said


@pytest.mark.parametrize(
    ("words", "there"),
    [
        pytest.param(["--no-filter"], FILTERED, id="no filter"),
        pytest.param(["-i", "/etc/pki/tls/cert.pem,"], {"etc/pki/tls/cert.pem"}, id="a file included"),
        pytest.param(["-i", "/root"], FILTERED - {"etc/pki/tls/cert.pem"}, id="a directory included"),
        pytest.param(["-e", "/etc/pki,/srv,/dev,/proc/1", "-e", "/home/user/file", "--no-filter"],
                     FILTERED - {"etc/pki/tls/cert.pem"}, id="excluded"),
    ],
)  # fmt: skip
def test_filters(shell: Shell, tree: Path, words: list[str], there: set[str]) -> None:
    bundle(shell, tree, *words)
    found = described(dumped(shell.path / "out/image", shell.path / "dump"))
    assert found.keys() & FILTERED == there
    excluded = "-e" in words
    assert ("srv" in found, "etc/pki" in found, "home/user/file" in found) == (not excluded,) * 3
    assert "home/user" in found


@pytest.mark.parametrize("kind", ["ext2", "ext3"])
def test_other_kinds(shell: Shell, tree: Path, kind: str) -> None:
    name = "6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11"
    bundle(shell, tree, "--filesystem", kind, "--uuid", name, "--label", "x")
    image = shell.path / "out/image"
    clean(image)
    told = subprocess.check_output(["blkid", "-p", "-o", "export", image], text=True)
    assert {f"TYPE={kind}", f"UUID={name}", "LABEL=x"} <= set(told.splitlines())
    assert "etc/shadow" in described(dumped(image, shell.path / "dump"))


def test_a_path_below_a_link_is_excluded_where_it_is(shell: Shell, tree: Path) -> None:
    (tree / "var/run").symlink_to("../home")
    bundle(shell, tree, "-e", "/var/run/user")
    found = described(dumped(shell.path / "out/image", shell.path / "dump"))
    assert ("home" in found, "home/user" in found) == (True, False)


def test_access_lists_stay_where_they_are(shell: Shell, tree: Path) -> None:
    """A default list is inherited by what is made under it, and so must not reach what is made anew in the layer."""
    entries = "01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff"  # u:1000:rwx
    acl = bytes.fromhex("02000000" + entries)
    for path in ("", "root"):
        os.setxattr(tree / path, "system.posix_acl_default", acl)
    (tree / "sys").rename(tree / "was-sys")
    bundle(shell, tree, "--generate-fstab")
    image = shell.path / "out/image"
    clean(image)
    having = {path for path in ("/", "/root", "/root/.ssh", "/etc", "/etc/fstab", "/sys", "/home") if
              "acl" in debugfs(image, f"ea_list {path}")}  # fmt: skip
    assert having == {"/", "/root"}
    assert "Mode:  0755 " in debugfs(image, "stat /sys")


def test_what_must_not_be_opened_or_cannot_be_kept(shell: Shell, tree: Path) -> None:
    (tree / "etc/fstab").unlink()
    os.mkfifo(tree / "etc/fstab")
    os.mkfifo(tree / "bin/bash")  # what bin/sh points to
    os.mknod(tree / "srv/whiteout", stat.S_IFCHR, 0)
    done = bundle(shell, tree)
    assert "1 left out, being whiteouts of container layers" in done.stderr
    assert "Type: FIFO" in debugfs(shell.path / "out/image", "stat /etc/fstab")
    clean(shell.path / "out/image")


def test_a_wrong_exclude_is_not_passed_over(shell: Shell, tree: Path) -> None:
    done = bundle(shell, tree, "-e", "/secrets", code=2)
    assert f"--exclude: /secrets is not in the volume {tree}" in done.stderr
    assert "leads out of the volume" in bundle(shell, tree, "-e", "/../etc", code=2).stderr
    nothing_left(shell.path)


def test_neither_the_destination_nor_the_key_is_in_the_image(shell: Shell, tree: Path) -> None:
    out, key, certificate = tree / "srv/out", tree / "root/my-key", shell.path / "cert"
    out.mkdir()
    (out / "older").write_text("an older image")
    made_key, made_certificate = make_user(shell.path / "user")
    made_key.rename(key)
    made_certificate.rename(certificate)
    bundle(shell, tree, "--no-filter", "-d", out, "-k", key, "-c", certificate)
    assert sorted(each.name for each in out.iterdir()) == ["image", "image.manifest.xml", "image.part.0", "older"]
    found = described(dumped(out / "image", shell.path / "dump"))
    assert [path for path in found if path.startswith(("srv/out", "root/my-key"))] == ["srv/out"]
    # In the volume's root itself only what the bundle is called can be told apart.
    (tree / "image.part.7.old").touch()
    bundle(shell, tree, "--no-filter", "-d", tree, "-k", key, "-c", certificate, "-e", "/srv")
    found = described(dumped(tree / "image", shell.path / "dump-again"))
    assert [path for path in found if "image" in path or "my-key" in path] == []
    assert "etc/fstab" in found


def test_equal_trees_give_equal_images(shell: Shell, tree: Path) -> None:
    shell.variables["SOURCE_DATE_EPOCH"] = str(EPOCH)
    bundle(shell, tree, "-p", "one", "--generate-fstab")
    time.sleep(1.1)
    again = shell.path / "again"
    subprocess.run(["cp", "-a", "--sparse=always", tree, again], check=True)
    bundle(shell, again, "-p", "two", "--generate-fstab")
    images = [shell.path / "out" / name for name in ("one", "two")]
    clean(images[0])
    assert subprocess.run(["cmp", *images], check=False).returncode == 0


def test_fstab_grub_and_script_are_the_images_alone(shell: Shell, tree: Path) -> None:
    before = described(tree)
    (shell.path / "menu").write_text("default 0\n")
    script = shell.path / "script"
    script.write_text(
        '#!/bin/sh -e\necho said "$1"\nrm -r "$1/srv"\nmkdir "$1/srv"\necho changed > "$1/etc/shadow"\n'
        'test ! -e "$1/root/.ssh/id_rsa"\n'
    )
    script.chmod(0o755)
    done = bundle(shell, tree, "--generate-fstab", "--grub-config", shell.path / "menu", "-S", script, "-r", "i386")
    assert "script: said /" in done.stderr
    assert described(tree) == before
    image = shell.path / "out/image"
    clean(image)
    found = described(dumped(image, shell.path / "dump"), with_times=False)
    assert {path for path in found if path.startswith("srv")} == {"srv"}
    assert found["etc/shadow"][1:4] == [0, 42, 0]
    assert (shell.path / "dump/etc/shadow").read_text() == "changed\n"
    assert (shell.path / "dump/boot/grub/menu.lst").read_text() == "default 0\n"
    fstab = (shell.path / "dump/etc/fstab").read_text()
    assert fstab.splitlines()[:3] == [
        "/dev/sda1\t/\text4\tdefaults\t1\t1",
        "/dev/sda2\t/mnt\tauto\tdefaults,nofail\t0\t0",
        "/dev/sda3\tnone\tswap\tsw,nofail\t0\t0",
    ]


def test_a_script_that_fails(shell: Shell, tree: Path) -> None:
    script = shell.path / "script"
    script.write_text("#!/bin/sh\necho because >&2\nexit 3\n")
    script.chmod(0o755)
    done = bundle(shell, tree, "-S", script, code=1)
    assert f"--script {script} failed with exit code 3\n  because\n" in done.stderr
    nothing_left(shell.path)


def test_too_small_says_what_is_needed(shell: Shell, tree: Path) -> None:
    (tree / "srv/more").write_bytes(os.urandom(30 * MIB))
    done = bundle(shell, tree, "-s", "20", code=1)
    assert "the volume does not fit into an image of 20 MiB\n" in done.stderr
    nothing_left(shell.path)
    needed = re.findall(r"give --size (\d+)\n", done.stderr)[0]
    bundle(shell, tree, "-s", needed)
    clean(shell.path / "out/image")
    done = bundle(shell, tree, "-s", "10241", "-p", "large", code=2)
    assert "an image has 1 to 10240 MiB" in done.stderr


def test_partition_tables_are_refused_plainly(shell: Shell, tree: Path) -> None:
    for kind in ("mbr", "gpt"):
        done = bundle(shell, tree, "-P", kind, code=2)
        assert f"--partition {kind} is not supported: the image is a file system without" in done.stderr
    bundle(shell, tree, "-P", "none")


def test_an_image_that_is_there_is_not_lost(shell: Shell, tree: Path) -> None:
    bundle(shell, tree)
    first = hashlib.sha256((shell.path / "out/image").read_bytes()).hexdigest()
    done = bundle(shell, tree, code=2)
    assert "image.manifest.xml are there already" in done.stderr
    assert hashlib.sha256((shell.path / "out/image").read_bytes()).hexdigest() == first
    (shell.path / "out/more.part.3").touch()
    assert "holds files of a bundle more already" in bundle(shell, tree, "-p", "more", code=1).stderr
    (shell.path / "out/more.part.3").unlink()
    bundle(shell, tree, "-y", "--label", "other")
    assert "other" in subprocess.check_output(["e2label", shell.path / "out/image"], text=True)
    nothing_left(shell.path, *BUNDLE)


MOUNTED = """
mkdir -p other "$TREE/data" "$TREE/memory"
echo other > other/file; echo secret > other/key.pem
echo under > "$TREE/data/under"; echo under > "$TREE/memory/under"
mount --bind other "$TREE/data"
mount -t tmpfs tmpfs "$TREE/memory"; echo lost > "$TREE/memory/file"
mkdir out "$TREE/dest"
mount --bind out "$TREE/dest"
echo older > out/older
exec ec2-bundle-vol -v "$TREE" -d "$TREE/dest" -r x86_64 -s 64 --no-inherit --region local $WORDS
"""


@pytest.mark.parametrize("all_of_them", [False, True])
def test_other_file_systems(shell: Shell, tree: Path, all_of_them: bool) -> None:
    shell.variables |= {"TREE": str(tree), "WORDS": "--all" if all_of_them else ""}
    with shell.start("unshare", "--mount", "bash", "-euc", MOUNTED) as process:
        _, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert ("other file systems are left out: /data (" in stderr) is not all_of_them
    found = described(dumped(shell.path / "out/image", shell.path / "dump"))
    below = {path for path in found if path.startswith(("data", "memory", "dest"))}
    assert below == {"data", "memory", "dest"} | ({"data/file"} if all_of_them else set())
    clean(shell.path / "out/image")


FULL = """
mkdir out
mount -t tmpfs -o size="$SIZE" tmpfs out
ec2-bundle-vol -v "$TREE" -d out -r x86_64 -s 64 --no-inherit --region local || code=$?
ls -A out >&2
exit $code
"""


@pytest.mark.parametrize(
    ("size", "why"),
    [
        pytest.param("1M", "there are 0 MiB left in the destination", id="seen before"),
        pytest.param("4M", "No space left on device", id="met by the bundle"),
    ],
)
def test_a_full_destination(shell: Shell, tree: Path, size: str, why: str) -> None:
    shell.variables |= {"TREE": str(tree), "SIZE": size}
    with shell.start("unshare", "--mount", "bash", "-euc", FULL) as process:
        _, stderr = process.communicate(timeout=100)
    assert (process.returncode, why in stderr) == (3, True), stderr
    assert stderr.splitlines()[-1].startswith("hint: ")  # and ls had nothing to list


def test_a_machine_that_allows_no_mounts(shell: Shell, tree: Path) -> None:
    (shell.path / "out").mkdir()
    words = ("-v", tree, "-d", shell.path / "out", "-r", "x86_64", "--no-inherit", "--region", "local")
    done = shell.run("setpriv", "--bounding-set=-sys_admin", "ec2-bundle-vol", *words)
    assert done.code == 3
    assert "unshare failed: Operation not permitted\nhint: it takes a mount namespace of its own" in done.stderr
    nothing_left(shell.path)


def test_another_user_bundles_what_is_his(shell: Shell, other_user: str) -> None:
    place = shell.path
    own = place / "own"
    (own / "etc").mkdir(parents=True)
    (own / "etc/file").write_text("x")
    (place / "out").mkdir()
    (place / "state").mkdir()
    subprocess.run(["chown", "-R", f"{other_user}:", own, place / "out", place / "state"], check=True)

    def run(*words: str | Path) -> Done:
        return shell.run(
            "runuser", "-u", other_user, "--", "ec2-bundle-vol", "-v", own, "-d", place / "out", "-r", "x86_64",
            "-s", "32", "--no-inherit", "--region", "local", *words,
        )  # fmt: skip

    done = run()
    assert done.code == 0, done.stderr
    clean(place / "out/image")
    assert re.search(r"User: +0 +Group: +0 ", debugfs(place / "out/image", "stat /etc/file"))
    (own / "etc/roots").write_text("x")  # root's, and so of nobody that he has an id for
    done = run("-p", "two")
    assert done.code == 1
    assert "1 of the volume's files belong to users or groups that are not yours\n  /etc/roots\n" in done.stderr
    (own / "etc/roots").chmod(0)
    done = run("-p", "two")
    assert done.code == 1
    assert "1 of the volume's files cannot be read\n  /etc/roots\n" in done.stderr
    assert run("-p", "two", "-e", "/etc/roots").code == 0
    nothing_left(place, *BUNDLE, "two", "two.manifest.xml", "two.part.0")


VALUES = {
    "kernel-id": "aki-919dcaf8",
    "product-codes": "ABCD",
    "ancestor-ami-ids": "ami-00000001",
    "ami-id": "ami-00000002",
    "block-device-mapping/": "ami\nebs1\nroot",
    "block-device-mapping/ami": "sda1",
    "block-device-mapping/root": "/dev/sda1",
}


def test_what_the_instance_has_is_inherited(shell: Shell, tree: Path) -> None:
    with metadata_service(VALUES, required=True) as (address, _):
        shell.variables |= {"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": address}
        done = bundle(shell, tree, "--inherit", "--productcodes", "X,Y")
    assert "not inherited, EC2 would refuse it: block-device-mapping ebs1" in done.stderr
    manifest = (shell.path / "out/image.manifest.xml").read_text()
    for each in (
        "<block_device_mapping><mapping><virtual>ami</virtual><device>sda1</device></mapping><mapping>",
        "<virtual>root</virtual><device>/dev/sda1</device></mapping></block_device_mapping>",
        "<kernel_id>aki-919dcaf8</kernel_id>",
        "<product_codes><product_code>X</product_code><product_code>Y</product_code></product_codes>",
        "<ancestry><ancestor_ami_id>ami-00000001</ancestor_ami_id><ancestor_ami_id>ami-00000002</ancestor_ami_id>",
    ):
        assert each in manifest


def test_inheriting_where_there_is_nothing_to_inherit(shell: Shell, tree: Path) -> None:
    shell.variables |= {
        "AWS_EC2_METADATA_DISABLED": "",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    }
    done = bundle(shell, tree, "--inherit", code=3)
    assert "hint: say --no-inherit where there is none" in done.stderr
    nothing_left(shell.path)


def test_files_that_come_and_go(shell: Shell, tree: Path) -> None:
    spool = tree / "a-spool"
    spool.mkdir()
    (tree / "b-large").write_bytes(os.urandom(20 * MIB))
    ended = threading.Event()

    def churn() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            (spool / f"new-{number}").write_text("x")
            (spool / f"new-{number - 20}").unlink(missing_ok=True)
            time.sleep(0.001)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        bundle(shell, tree)
    finally:
        ended.set()
        thread.join()
    clean(shell.path / "out/image")
    assert "etc/fstab" in described(dumped(shell.path / "out/image", shell.path / "dump"))
    nothing_left(shell.path, *BUNDLE, "image.part.1", "image.part.2")


SLEEP = "#!/bin/sh\ntouch {ready}\nexec sleep 100\n"


def interrupted(shell: Shell, tree: Path, number: int) -> tuple[int, str]:
    """Bundle with a script that never ends; the exit code and stderr of who is sent the signal meanwhile."""
    script, ready = shell.path / "script", shell.path / "ready"
    script.write_text(SLEEP.format(ready=ready))
    script.chmod(0o755)
    (shell.path / "out").mkdir(exist_ok=True)
    words = ("-v", tree, "-d", shell.path / "out", "-r", "x86_64", "-s", "64", "--no-inherit", "--region", "local")
    with shell.start("ec2-bundle-vol", *words, "-S", script) as process:
        while not ready.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr


def asleep(tree: Path) -> bool:
    """Whether the script, which is given a place below `tree`'s, still runs."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(tree.parent) in (entry / "mountinfo").read_text():
                return True
        except OSError:
            continue
    return False


def waited(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_interrupted(shell: Shell, tree: Path) -> None:
    code, stderr = interrupted(shell, tree, signal.SIGINT)
    assert (code, "nothing of the image or the bundle is left" in stderr) == (130, True)
    assert not asleep(tree)
    nothing_left(shell.path)


def test_killed(shell: Shell, tree: Path) -> None:
    code, _ = interrupted(shell, tree, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert waited(lambda: not asleep(tree))
    assert len(list((shell.path / "out").iterdir())) == 1
    bundle(shell, tree)  # and clears away what the killed one left
    nothing_left(shell.path, *BUNDLE)
    shutil.rmtree(shell.path / "out")
