"""Where the image goes, who may read it, and that nothing is left of a failure. What is refused: test_hostile.py."""

import os
import random
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.bundles import read
from builder.bundles.contract import Description, Keys
from builder.bundles.directory import DirectorySource
from builder.bundles.image import open_image
from builder.bundles.write import bundle_to_directory
from builder.errors import BuilderError, RecipeError
from builder.formats.gzip_stream import Level
from tests.support.forged import Forged, Held, forge, private_key

ROOT = Path(__file__).parents[3]
CONTENT = b"\1" * 5000 + bytes(1 << 20) + b"\2" * 3000


@pytest.fixture(params=["nameless", "named"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of new files: on a file system that knows such without a name, and on one that does not."""
    if request.param == "named":
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # what a kernel that does not know the flag sees


def undo(bundle: Forged, destination: Path, **options: object) -> Path:
    return read.unbundle(bundle.manifest, Held(bundle.parts), private_key("user"), destination, **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("files")
def test_into_a_directory_under_the_name_of_the_bundle(tmp_path: Path) -> None:
    path = undo(forge(CONTENT), tmp_path)
    assert path == tmp_path / "disk.img"
    assert path.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["disk.img"]


@pytest.mark.usefixtures("files")
def test_into_a_file(tmp_path: Path) -> None:
    path = undo(forge(CONTENT), tmp_path / "mine.raw")
    assert path == tmp_path / "mine.raw"
    assert path.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["mine.raw"]


@pytest.mark.usefixtures("files")
def test_zeros_are_holes_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    found = undo(forge(CONTENT), tmp_path).stat()
    assert found.st_blocks * 512 <= 16384
    assert found.st_size == len(CONTENT)
    assert stat.S_IMODE(found.st_mode) == 0o600


@pytest.mark.usefixtures("files")
def test_the_mask_counts(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        assert stat.S_IMODE(undo(forge(CONTENT), tmp_path).stat().st_mode) == 0o400
    finally:
        os.umask(before)


def test_from_its_own_directory(tmp_path: Path) -> None:
    bundle = forge(CONTENT, part_size=1000)
    for name, data in bundle.parts.items():
        (tmp_path / name).write_bytes(data)
    path = read.unbundle(bundle.manifest, DirectorySource(tmp_path), private_key("user"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert {each.name for each in tmp_path.iterdir()} == {"disk.img", *bundle.parts}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("what", ["file", "directory", "dangling link"])
def test_what_is_there_is_not_replaced(what: str, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    if what == "file":
        path.write_bytes(b"mine")
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"is there already|is a directory"):
        undo(forge(CONTENT), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["disk.img"]
    assert what != "file" or path.read_bytes() == b"mine"


@pytest.mark.usefixtures("files")
def test_unless_that_is_wanted(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    (tmp_path / "disk.img").symlink_to(other)
    path = undo(forge(CONTENT), tmp_path, force=True)
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()
    assert other.read_bytes() == b"of somebody else"


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for path in (pipe, link):
        with pytest.raises(RecipeError, match="is no file, and is not replaced"):
            undo(forge(CONTENT), path, force=True)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert {each.name for each in tmp_path.iterdir()} == {"link", "pipe"}


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match="File name too long"):
        undo(forge(CONTENT), tmp_path / ("a" * 300))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("files")
def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        (tmp_path / "disk.img").write_bytes(b"mine")

    with pytest.raises(RecipeError, match="is there already"):
        undo(forge(CONTENT), tmp_path, progress=progress)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"disk.img": b"mine"}


@pytest.mark.usefixtures("files")
def test_a_failure_keeps_what_was_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"mine")
    with pytest.raises(BuilderError, match="gzip"):
        undo(forge(CONTENT, packed=b"none"), tmp_path, force=True)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"disk.img": b"mine"}


def test_no_directory_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is not a directory to write the image into"):
        undo(forge(CONTENT), tmp_path / "none" / "disk.img")
    assert list(tmp_path.iterdir()) == []


def test_the_directory_of_the_parts_is_gone(tmp_path: Path) -> None:
    bundle = forge(CONTENT)
    with pytest.raises(BuilderError, match="gone"):
        read.unbundle(bundle.manifest, DirectorySource(tmp_path / "gone"), private_key("user"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files of this process end there, with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("files")
def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match=r"disk\.img: File too large"), largest_file(100_000):
        undo(forge(CONTENT), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "signer", "certificate", "why"),
    [
        pytest.param("user", "user", "user", "", id="all-fit"),
        pytest.param("user", "user", None, "", id="no-certificate"),
        pytest.param("ec2", "user", "user", "", id="the-key-of-ec2"),
        pytest.param("other", "user", "user", "this private key does not open the bundle", id="other-key"),
        pytest.param(
            "user", "user", "other", "was not signed by the owner of this certificate", id="other-certificate"
        ),
        pytest.param("user", "other", "user", "was not signed by the owner of this certificate", id="other-signer"),
        pytest.param("user", None, None, "", id="unsigned-and-not-asked"),
        pytest.param("user", None, "user", "is not signed, so not by", id="unsigned"),
    ],
)
@pytest.mark.parametrize("only_check", [False, True])
def test_keys(
    key: str, signer: str | None, certificate: str | None, why: str, only_check: bool, tmp_path: Path
) -> None:
    bundle = forge(CONTENT, signer=signer)
    public = private_key(certificate).public_key() if certificate else None

    def act() -> None:
        if only_check:
            read.check(bundle.manifest, Held(bundle.parts), private_key(key), public)
        else:
            read.unbundle(bundle.manifest, Held(bundle.parts), private_key(key), tmp_path, certificate=public)

    if why:
        with pytest.raises(BuilderError, match=why):
            act()
    else:
        act()
    assert [each.name for each in tmp_path.iterdir()] == ([] if why or only_check else ["disk.img"])


def test_check_without_a_key_reads_the_parts() -> None:
    bundle = forge(CONTENT, packed=b"what is in it cannot be known")
    read.check(bundle.manifest, Held(bundle.parts), certificate=private_key("user").public_key())
    with pytest.raises(BuilderError, match="was not signed by"):
        read.check(bundle.manifest, Held(bundle.parts), certificate=private_key("other").public_key())
    with pytest.raises(BuilderError, match=r"part disk\.img\.part\.0 is missing"):
        read.check(bundle.manifest, Held({}))


@pytest.mark.parametrize(
    ("number", "named"),
    [
        pytest.param(signal.SIGINT, False, id="interrupt"),
        pytest.param(signal.SIGTERM, False, id="terminate"),
        pytest.param(signal.SIGKILL, False, id="kill"),
        pytest.param(signal.SIGINT, True, id="interrupt-with-a-name"),
        pytest.param(signal.SIGTERM, True, id="terminate-with-a-name"),
    ],
)
def test_a_signal_leaves_nothing(number: signal.Signals, named: bool, tmp_path: Path) -> None:
    """As the command line takes it: the signal becomes an exception in the main thread."""
    script = textwrap.dedent("""
        import os, signal, sys, time
        from pathlib import Path
        from builder.bundles import read
        from tests.support.forged import Held, forge, private_key

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if sys.argv[2] == "True":
            os.O_TMPFILE = os.O_DIRECTORY  # what a kernel that does not know the flag sees

        class Slow(Held):
            def read(self, part):
                print("reading", flush=True)
                for piece in super().read(part):
                    yield piece
                    time.sleep(0.02)

        bundle = forge(b"x" * 1000 + bytes(1 << 20), part_size=100)
        read.unbundle(bundle.manifest, Slow(bundle.parts, 1), private_key("user"), Path(sys.argv[1]))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, str(named)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "reading\n"
        assert [each.name[:22] for each in tmp_path.iterdir()] == [".ami-factory-unbundle-"] * named
        running.send_signal(number)
        _, said = running.communicate(timeout=20)
    assert said.endswith("KeyboardInterrupt\n") or number == signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".hidden", "disk.img.part.0", "web.part.17", "disk.img.manifest.xml", "old.manifest"])
def test_a_name_that_is_none_for_a_file(name: str, tmp_path: Path) -> None:
    bundle = forge(CONTENT, edit=lambda text: text.replace("<name>disk.img<", f"<name>{name}<"))
    with pytest.raises(BuilderError, match="which is no name for a file"):
        undo(bundle, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert undo(bundle, tmp_path / "named").read_bytes() == CONTENT


@pytest.mark.parametrize("level", ["fast", "small"])
def test_what_our_writer_writes(level: Level, tmp_path: Path) -> None:
    image = tmp_path / "image"
    noise = random.Random(level).randbytes(12 << 20)
    with image.open("wb") as file:
        for at in (0, 15 << 20, (40 << 20) + 12345):
            file.seek(at)
            file.write(noise)
        file.truncate(60 << 20)
    user, ec2 = private_key("user"), private_key("ec2")
    said = Description(name="disk.img", account="123456789012", architecture="i386")
    parts = tmp_path / "bundle"
    parts.mkdir()
    with open_image(image) as opened:
        manifest = bundle_to_directory(opened, said, Keys(private_key=user, ec2=ec2.public_key()), parts, level=level)
    for key in (user, ec2):
        path = read.unbundle(
            manifest.read_bytes(), DirectorySource(parts), key, tmp_path, certificate=user.public_key(), force=True
        )
        assert path.read_bytes() == image.read_bytes()
        assert path.stat().st_blocks <= image.stat().st_blocks + 64  # the file system counts its own maps
