"""Bundles of other tools, read: made by tar, gzip and openssl as those tools run them, never by our own writer."""

import hashlib
import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.bundles import read
from builder.bundles.directory import DirectorySource
from builder.formats import bundle_cipher
from tests.support.bundles import (
    AMI_TOOLS,
    EUCA2OOLS,
    GO,
    HOLED,
    PARALLEL,
    SCALARIZR,
    WRITERS,
    TestBundle,
    Writer,
    make_bundle,
    make_user,
)
from tests.support.forged import Held, forge, private_key

pytestmark = pytest.mark.host

MIXED = random.Random(11).randbytes(300_000) + bytes(500_000) + b"end" * 1000 + bytes(12_345)


def undone(bundle: TestBundle, directory: Path) -> Path:
    """The image, read from files; the signature is held where the tool signs."""
    parts = directory / "bundle"
    parts.mkdir()
    for name, data in bundle.files().items():
        (parts / name).write_bytes(data)
    key = bundle_cipher.load_private_key(bundle.user_key.read_bytes())
    certificate = bundle_cipher.load_public_key(bundle.user_certificate.read_bytes())
    out = directory / "out"
    out.mkdir()
    image = read.unbundle(
        (parts / bundle.manifest_name).read_bytes(),
        DirectorySource(parts),
        key,
        out,
        certificate=certificate if bundle.writer.signed else None,
    )
    assert image == out / bundle.name
    assert [each.name for each in out.iterdir()] == [bundle.name]
    return image


def region(directory: Path, writer: Writer) -> Path:
    """A certificate that stands for EC2's."""
    return make_user(directory / "ec2", 1024)[1]


@pytest.mark.parametrize("writer", [each for each in WRITERS if not each.unsigned], ids=str)
@pytest.mark.parametrize("content", [pytest.param(HOLED, id="holes"), pytest.param(MIXED, id="mixed")])
def test_reads(writer: Writer, content: bytes, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, region(tmp_path, writer), writer=writer, content=content, part_size=3000)
    image = undone(bundle, tmp_path)
    assert image.read_bytes() == content
    data = sum(content[at : at + 4096].strip(b"\0") != b"" for at in range(0, len(content), 4096))
    assert image.stat().st_blocks * 512 <= (data + 16) * 4096


def test_the_cloud_s_key_opens_what_was_made_without_a_user(tmp_path: Path) -> None:
    (writer,) = (each for each in WRITERS if each.unsigned)
    key, certificate = make_user(tmp_path / "ec2", 1024)
    bundle = make_bundle(tmp_path, certificate, writer=writer, content=HOLED)
    assert undone(replace(bundle, user_key=key, user_certificate=certificate), tmp_path).read_bytes() == HOLED


GZIPS = {
    "pigz": ("pigz",),
    "pigz-9": ("pigz", "-9"),
    "pigz-independent-blocks": ("pigz", "--independent", "--blocksize", "128"),
    "gzip-1": ("gzip", "-1"),
    "gzip-rsyncable": ("gzip", "--rsyncable"),
}


@pytest.mark.parametrize("gzip", GZIPS.values(), ids=GZIPS)
@pytest.mark.parametrize("base", [AMI_TOOLS, EUCA2OOLS, GO, SCALARIZR, replace(PARALLEL, members=9)], ids=str)
def test_every_gzip(gzip: tuple[str, ...], base: Writer, tmp_path: Path) -> None:
    bundle = make_bundle(
        tmp_path, region(tmp_path, base), writer=replace(base, gzip=gzip), content=MIXED, part_size=20_000
    )
    assert undone(bundle, tmp_path).read_bytes() == MIXED


# Archives: of the stream alone, so without a foreign manifest.


def tar(*options: str) -> Callable[[Path], bytes]:
    def run(image: Path) -> bytes:
        command = ["tar", "--create", *options, "--directory", image.parent, image.name]
        return subprocess.run(command, capture_output=True, check=True).stdout

    return run


def bsdtar(*options: str) -> Callable[[Path], bytes]:
    def run(image: Path) -> bytes:
        command = ["bsdtar", "--create", *options, "--file", "-", "--directory", image.parent, image.name]
        return subprocess.run(command, capture_output=True, check=True).stdout

    return run


def python(form: int) -> Callable[[Path], bytes]:
    def run(image: Path) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w|", format=form) as written, image.open("rb") as file:
            written.addfile(written.gettarinfo(str(image), arcname=image.name), file)
        return stream.getvalue()

    return run


SPARSE = ("--sparse", "--hole-detection=raw")
TARS = {
    "v7": tar("--format=v7"),
    "oldgnu": tar("--format=oldgnu"),
    "gnu": tar("--format=gnu"),
    "ustar": tar("--format=ustar"),
    "pax": tar("--format=posix"),
    "pax-of-much": tar("--format=posix", "--xattrs", "--pax-option=comment=hello,globexthdr.name=here"),
    "blocking-factor-1": tar("--blocking-factor=1"),
    "blocking-factor-1000": tar("--blocking-factor=1000"),
    "dereferenced-as-ec2-ami-tools": tar("--dereference", *SPARSE, "--owner=0", "--group=0"),
    "sparse-by-seeking": tar("--sparse", "--hole-detection=seek"),
    "sparse-oldgnu": tar("--format=oldgnu", *SPARSE),
    "sparse-gnu": tar("--format=gnu", *SPARSE),
    "sparse-pax-0.0": tar("--format=posix", "--sparse-version=0.0", *SPARSE),
    "sparse-pax-0.1": tar("--format=posix", "--sparse-version=0.1", *SPARSE),
    "sparse-pax-1.0": tar("--format=posix", "--sparse-version=1.0", *SPARSE),
    "python-gnu": python(tarfile.GNU_FORMAT),
    "python-pax": python(tarfile.PAX_FORMAT),
    "python-ustar": python(tarfile.USTAR_FORMAT),
}
BSDTARS = {
    "bsdtar-ustar": bsdtar("--format=ustar"),
    "bsdtar-pax": bsdtar("--format=pax"),
    "bsdtar-gnutar": bsdtar("--format=gnutar"),
}


def undone_tar(stream: bytes, size: int, directory: Path) -> Path:
    bundle = forge(b"", tar=stream, size=size)
    return read.unbundle(bundle.manifest, Held(bundle.parts), private_key("user"), directory / "image")


def image_of(directory: Path, pieces: dict[int, bytes], size: int, name: str = "disk.img") -> Path:
    """A file with holes around `pieces`."""
    path = directory / name
    with path.open("wb") as file:
        for at, data in pieces.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return path


IMAGES = {
    "dense": ({0: MIXED[:300_000]}, 300_000),
    "holes": ({0: b"a" * 4096, 65536: b"b" * 5000, 1 << 20: b"c"}, (1 << 20) + 8192),
    "one-hole": ({}, 1 << 20),
    "hole-first": ({50_000: b"end" * 100}, 50_300),
    "many-holes": ({at << 14: b"%d" % at * 100 for at in range(300)}, 300 << 14),
    "one-byte": ({0: b"x"}, 1),
}


@pytest.mark.parametrize("make", TARS.values(), ids=TARS)
@pytest.mark.parametrize("image", IMAGES)
def test_every_tar(make: Callable[[Path], bytes], image: str, tmp_path: Path) -> None:
    path = image_of(tmp_path, *IMAGES[image])
    content = path.read_bytes()
    assert undone_tar(make(path), len(content), tmp_path).read_bytes() == content


@pytest.mark.parametrize("make", BSDTARS.values(), ids=BSDTARS)
@pytest.mark.parametrize("image", IMAGES)
def test_every_bsdtar(make: Callable[[Path], bytes], image: str, tmp_path: Path) -> None:
    path = image_of(tmp_path, *IMAGES[image])
    content = path.read_bytes()
    assert undone_tar(make(path), len(content), tmp_path).read_bytes() == content


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "posix"])
@pytest.mark.parametrize("sparse", [(), SPARSE], ids=["plain", "sparse"])
def test_a_long_name(form: str, sparse: tuple[str, ...], tmp_path: Path) -> None:
    path = image_of(tmp_path, {0: b"a" * 4096, 65536: b"b"}, 100_000, "n" * 200)
    assert undone_tar(tar(f"--format={form}", *sparse)(path), 100_000, tmp_path).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_ten_gib_and_a_few_blocks_of_them_in_use(form: str, tmp_path: Path) -> None:
    """Sizes and offsets that eleven octal digits cannot say."""
    size = 10 << 30
    pieces = {0: b"first" * 1000, (9 << 30) + 4096: b"late" * 1000, size - 4096: b"last"}
    path = image_of(tmp_path, pieces, size)
    image = undone_tar(tar(f"--format={form}", *("--sparse", "--hole-detection=seek"))(path), size, tmp_path)
    assert image.stat().st_size == size
    assert image.stat().st_blocks * 512 <= 16 * 4096
    with image.open("rb") as file:
        for at, data in pieces.items():
            assert os.pread(file.fileno(), len(data) + 10, at) == (data + bytes(10))[: size - at]


def test_the_classic_pipeline_agrees(tmp_path: Path) -> None:
    """What we read from a foreign bundle is what `cat | openssl | gunzip | tar` gives."""
    bundle = make_bundle(tmp_path, region(tmp_path, AMI_TOOLS), writer=AMI_TOOLS, content=MIXED, part_size=50_000)
    image = undone(bundle, tmp_path)
    script = 'set -o pipefail; cat "$@" | openssl enc -d -aes-128-cbc -K "$KEY" -iv "$IV" | gunzip | tar xO | sha1sum'
    said = subprocess.run(
        ["bash", "-c", script, "undo", *(tmp_path / "bundle" / name for name in bundle.parts)],
        env={**os.environ, "KEY": bundle.key, "IV": bundle.iv},
        capture_output=True,
        check=True,
    ).stdout
    assert said.split()[0].decode() == hashlib.sha1(image.read_bytes()).hexdigest()
