"""A bundle for one local region, registered in another: refused as it is, taken once it has been migrated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.classic import Shell

IMAGE = """
mkdir tree
echo hello > tree/hello
truncate -s 16M disk.img
mke2fs -q -t ext3 -d tree disk.img
ec2-bundle-image -c cert.pem -k pk.pem -u 123456789012 -i disk.img -d . --region local -r x86_64 \
  --kernel aki-919dcaf8 -B ami=sda1,root=/dev/sda1 --productcodes ABCD
"""
KEYS = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=user -days 1 -keyout pk.pem -out cert.pem"
UPLOADED = """
ec2-upload-bundle -b {bucket} -m disk.img.manifest.xml --region local
ec2-register {bucket}/disk.img.manifest.xml --region local
"""
OPENED = """
field() { grep -o "<$1[^>]*>[0-9a-f]*" disk.img.manifest.xml | cut -d'>' -f2 | tr a-f A-F | basenc --base16 -d; }
field ec2_encrypted_key | openssl pkeyutl -decrypt -inkey "$PRIVATE" -pkeyopt rsa_padding_mode:pkcs1 > key || echo other
grep -c -x -E '[0-9a-f]{32}' key || true
"""


@pytest.fixture
def shells(tmp_path: Path) -> Iterator[tuple[Shell, Shell]]:
    """The same directory, seen by users of two regions."""
    found = tuple(Shell(path=tmp_path, state=tmp_path / name) for name in ("here", "there"))
    try:
        yield found[0], found[1]
    finally:
        for each in found:
            each.run("ami-factory", "region", "stop")


def opened(shell: Shell) -> str:
    """How many keys of the form of one come out with the region's own private key."""
    key = shell.state / "ami-factory/region/identity/private-key.pem"
    return shell.script(f"PRIVATE={key}\n{OPENED}").stdout.splitlines()[-1]


def test_migrated_it_is_taken(shells: tuple[Shell, Shell], tmp_path: Path) -> None:
    here, there = shells
    assert here.script(KEYS).code == 0
    done = here.script(IMAGE)
    assert done.code == 0, done.stderr
    manifest = tmp_path / "disk.img.manifest.xml"
    old = manifest.read_bytes()
    done = here.script(UPLOADED.format(bucket="before"))
    assert done.code == 0, done.stderr
    assert "IMAGE\tami-" in done.stdout
    assert opened(here) == "1"

    done = there.script(UPLOADED.format(bucket="before"))
    assert (done.code, "ami-" in done.stdout) == (4, False)
    assert "this region's EC2 certificate (SHA-256 fingerprint" in done.stderr
    assert opened(there) == "0"

    words = ("ec2-migrate-manifest", "-c", "cert.pem", "-k", "pk.pem", "-m", manifest, "--region", "local")
    done = there.good(*words)
    assert done.stdout == (
        f"Backing up manifest...\nSuccessfully migrated {manifest}\nIt is now suitable for use in local.\n"
    )
    assert "kernel: aki-919dcaf8 is aki-919dcaf8 in local\n" in done.stderr
    assert (tmp_path / "disk.img.manifest.xml.bak").read_bytes() == old
    assert (opened(here), opened(there)) == ("0", "1")
    done = there.script(UPLOADED.format(bucket="after"))
    assert done.code == 0, done.stderr
    assert "IMAGE\tami-" in done.stdout
    new = manifest.read_bytes()
    for each in (
        b"<product_code>ABCD</product_code>",
        b"<kernel_id>aki-919dcaf8</kernel_id>",
        b"<virtual>ami</virtual>",
    ):
        assert each in new

    done = there.run(*words)
    assert done.code == 1
    assert "disk.img.manifest.xml.bak exists already, and is not overwritten" in done.stderr
    assert manifest.read_bytes() == new


def test_what_cannot_be_migrated(shells: tuple[Shell, Shell], tmp_path: Path) -> None:
    here, _ = shells
    assert here.script(KEYS).code == 0
    manifest = tmp_path / "web.manifest.xml"
    words = ("ec2-migrate-manifest", "-c", "cert.pem", "-k", "pk.pem", "-m", manifest, "--region", "local")
    done = here.run(*words)
    assert (done.code, f"the manifest {manifest} cannot be read: No such file" in done.stderr) == (2, True)
    manifest.write_text("<?xml version='1.0'?><manifest/>")
    assert here.run(*words).code == 1
    assert here.run(*words, "--kernel", "ami-12345678").code == 2
    assert sorted(each.name for each in tmp_path.glob("web*")) == ["web.manifest.xml"]


def test_a_kernel_that_nobody_knows(shells: tuple[Shell, Shell], tmp_path: Path) -> None:
    here, _ = shells
    assert here.script(KEYS).code == 0
    done = here.script(IMAGE.replace("aki-919dcaf8", "aki-00000000"))
    assert done.code == 0, done.stderr
    words = ("-c", "cert.pem", "-k", "pk.pem", "-m", tmp_path / "disk.img.manifest.xml", "--region", "local")
    done = here.run("ec2-migrate-manifest", *words)
    assert done.code == 4
    assert "aki-00000000 is in none of the regions that you can use" in done.stderr
    assert not (tmp_path / "disk.img.manifest.xml.bak").exists()
    here.good("ec2-migrate-manifest", *words, "--no-mapping")
    assert b"<kernel_id>aki-00000000</kernel_id>" in (tmp_path / "disk.img.manifest.xml").read_bytes()
