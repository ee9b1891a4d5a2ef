import hashlib
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.bundles import write
from builder.bundles.contract import Description, Keys, PartDigest
from builder.bundles.image import Image, open_image
from builder.errors import BuilderError, RecipeError
from builder.formats import bundle_cipher
from builder.formats.bundle_cipher import SessionKey
from builder.formats.bundle_stream import PART_SIZE, largest_count
from builder.formats.gzip_stream import Level
from builder.formats.manifest_reader import read_manifest

SESSION = SessionKey(key=bytes(range(16)), iv=bytes(range(16, 32)))
DESCRIPTION = Description(name="web.img", account="123456789012", architecture="x86_64")
NOISE = random.Random(3).randbytes(11 << 20)
FILES = ["web.img.manifest.xml", "web.img.part.0", "web.img.part.1"]


@pytest.fixture(scope="module")
def keys() -> Keys:
    user, ec2 = (bundle_cipher.load_private_key(bundle_cipher.make_pair()[0]) for _ in range(2))
    return Keys(private_key=user, ec2=ec2.public_key())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(30 << 20)
        file.seek(5 << 20)
        file.write(NOISE)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "bundles"
    path.mkdir()
    return path


class Kept:
    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}

    def write(self, index: int, data: memoryview) -> None:
        self.parts[index] = self.parts.get(index, b"") + data

    def end(self, index: int, digest: PartDigest) -> None:
        assert digest.length == len(self.parts[index])


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def to_directory(image: Path, keys: Keys, directory: Path, **options: Any) -> Path:
    with open_image(image) as opened:
        return write.bundle_to_directory(opened, DESCRIPTION, keys, directory, **options)


@pytest.mark.parametrize("level", ["fast", "small"])
def test_one_image_key_and_level_give_one_bundle(image: Path, keys: Keys, level: Level, tmp_path: Path) -> None:
    """Whatever the number of workers, and whether zeros are holes or written."""
    written = tmp_path / "written.img"
    written.write_bytes(image.read_bytes())
    found = []
    for path, workers in ((image, 1), (image, 5), (written, 2)):
        sink = Kept()
        with open_image(path) as opened:
            made = write.bundle(opened, DESCRIPTION, keys, sink, level=level, session=SESSION, workers=workers)
        found.append((made.sealed, made.names, sink.parts))
    assert found == [found[0]] * 3
    assert made.parsed == read_manifest(made.manifest)
    assert [part.filename for part in made.parsed.parts] == list(made.names) == ["web.img.part.0", "web.img.part.1"]


@pytest.mark.parametrize(
    ("level", "digest"),
    [
        ("fast", "e5c7a62420af42e7ec3e5cc2faa043ca0191488a922072cfa25f2599d6540206"),
        ("small", "4aeb3ec58dd3f7a5a50f5a164fd1004e3a8eddd87d97b71e50d9f3a031c599a4"),
    ],
)
def test_the_bytes_of_these_releases(level: Level, digest: str, keys: Keys, tmp_path: Path) -> None:
    """isal 1.9.1 on a processor with SSE 4.2, deflate 0.9.0: a new release may change them, and then says so here."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20) + b"".join(b"line %d of %d\n" % (n, n * n) for n in range(9000)) + bytes(5))
    with open_image(path) as opened:
        sink = Kept()
        write.bundle(opened, DESCRIPTION, keys, sink, level=level, session=SESSION)
    assert hashlib.sha256(b"".join(sink.parts.values())).hexdigest() == digest


def test_a_description_with_everything(image: Path, keys: Keys) -> None:
    full = replace(
        DESCRIPTION,
        kernel_id="aki-919dcaf8",
        ramdisk_id="ari-5d2bd734",
        block_device_mapping=(("ami", "sda1"),),
        product_codes=("A", "B"),
        ancestry=("ami-1",),
    )
    with open_image(image) as opened:
        parsed = write.bundle(opened, full, keys, Kept()).parsed
    assert (parsed.kernel_id, parsed.ramdisk_id, parsed.product_codes) == ("aki-919dcaf8", "ari-5d2bd734", ("A", "B"))
    assert (parsed.block_device_mapping, parsed.ancestry) == ((("ami", "sda1"),), ("ami-1",))


def test_names_before_the_count_is_known(image: Path, keys: Keys) -> None:
    given = write.stream_names("web.img", 10 * 1024**3)
    assert (len(given), given[0]) == (1026, "web.img.part.0000")
    with open_image(image) as opened:
        made = write.bundle(opened, DESCRIPTION, keys, Kept(), names=given)
    assert made.names == given[:2]
    assert [part.filename for part in made.parsed.parts] == list(given[:2])


def test_noise_fits_into_the_largest_count() -> None:
    assert largest_count(10 * PART_SIZE) == 11
    assert largest_count(1) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"name": "../web"}, "cannot be the name", id="name"),
        pytest.param({"account": "1234-5678-9012"}, "not an AWS account", id="dashes"),
        pytest.param({"architecture": "arm64"}, "no instance-store images for arm64", id="architecture"),
        pytest.param({"kernel_id": "x<y"}, "the id of a kernel image", id="kernel"),
        pytest.param({"ramdisk_id": "aki-919dcaf8"}, "the id of a ramdisk image", id="ramdisk"),
        pytest.param({"block_device_mapping": (("ephemeral0", "xvdal"),)}, "EC2 would refuse .*'xvdal'", id="device"),
        pytest.param({"block_device_mapping": (("disk0", "sdb"),)}, "EC2 would refuse .*'disk0'", id="virtual"),
        pytest.param({"product_codes": ("A\0B",)}, "EC2 would refuse", id="control-character"),
    ],
)
def test_refused_before_anything_is_read(changes: dict[str, Any], said: str, keys: Keys, directory: Path) -> None:
    unread = Image(where="nowhere", size=1, descriptor=-1)
    with pytest.raises(RecipeError, match=said):
        write.bundle_to_directory(unread, replace(DESCRIPTION, **changes), keys, directory)
    assert names(directory) == []


def test_a_directory_holds_the_bundle_and_nothing_else(image: Path, keys: Keys, directory: Path) -> None:
    assert to_directory(image, keys, directory) == directory / FILES[0]
    assert names(directory) == FILES
    assert read_manifest((directory / FILES[0]).read_bytes()).bundled_size == sum(
        (directory / name).stat().st_size for name in FILES[1:]
    )


@pytest.mark.parametrize("other", ["web.img.manifest.xml", "web.img.part.07"])
def test_another_bundle_is_not_overwritten(other: str, image: Path, keys: Keys, directory: Path) -> None:
    (directory / other).write_text("theirs")
    with pytest.raises(BuilderError, match=r"holds files of a bundle web\.img already") as caught:
        to_directory(image, keys, directory)
    assert caught.value.detail == other
    assert (names(directory), (directory / other).read_text()) == ([other], "theirs")


def test_unless_it_is_asked_for(image: Path, keys: Keys, directory: Path) -> None:
    for other in ("web.img.manifest.xml", "web.img.part.07", "web.img.part.1"):
        (directory / other).write_text("theirs")
    (directory / "web.img.part.x").write_text("of no bundle")
    to_directory(image, keys, directory, force=True)
    assert names(directory) == [*FILES, "web.img.part.x"]


class Stop(BaseException):
    """Stands for KeyboardInterrupt."""


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_left_when_it_fails(force: bool, image: Path, keys: Keys, directory: Path) -> None:
    if force:
        (directory / FILES[0]).write_text("theirs")
    before = names(directory)

    def progress(done: int, total: int) -> None:
        if done > 20 << 20:
            raise Stop

    with pytest.raises(Stop):
        to_directory(image, keys, directory, progress=progress, force=force)
    assert names(directory) == before


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_renames_are_all_or_none(
    at: int, image: Path, keys: Keys, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / FILES[0]).write_text("theirs")
    (directory / FILES[2]).write_text("theirs too")
    rename, calls = Path.rename, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        to_directory(image, keys, directory, force=True)
    assert {each.name: each.read_text() for each in directory.iterdir()} == {
        FILES[0]: "theirs",
        FILES[2]: "theirs too",
    }


def test_a_destination_that_is_none(image: Path, keys: Keys, directory: Path) -> None:
    for path, said in ((directory / "gone", "No such file"), (image, "Not a directory")):
        with pytest.raises(BuilderError, match=f"no directory to put a bundle into: {said}"):
            to_directory(image, keys, path)


CHILD = """
import sys, time
from pathlib import Path
from builder.bundles import write
from builder.bundles.contract import Description, Keys
from builder.bundles.image import open_image
from builder.formats import bundle_cipher
key = bundle_cipher.load_private_key(bundle_cipher.make_pair()[0])

def progress(done, total):
    print(done, flush=True)
    time.sleep(0.05)

with open_image(Path(sys.argv[1])) as image:
    write.bundle_to_directory(
        image, Description(name="web.img", account="123456789012", architecture="x86_64"),
        Keys(private_key=key, ec2=key.public_key()), Path(sys.argv[2]), progress=progress,
    )
"""


def killed(image: Path, directory: Path, number: signal.Signals) -> int:
    """The exit code of a process that was sent a signal in the middle of its work."""
    command = [sys.executable, "-c", CHILD, str(image), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(number)
        child.stdout.read()
        return child.wait(20)


def test_interrupted(image: Path, directory: Path) -> None:
    assert killed(image, directory, signal.SIGINT) == -signal.SIGINT
    assert names(directory) == []


def test_killed_it_leaves_one_directory_which_the_next_clears(image: Path, keys: Keys, directory: Path) -> None:
    assert killed(image, directory, signal.SIGKILL) == -signal.SIGKILL
    (left,) = names(directory)
    assert left.startswith(".ami-factory-bundle-")
    to_directory(image, keys, directory)
    assert names(directory) == FILES


def test_who_still_works_is_left_alone(image: Path, keys: Keys, directory: Path) -> None:
    """Two of one name: both begin, and who comes last is refused."""
    inner: list[BaseException | Path] = []

    def progress(done: int, total: int) -> None:
        if not inner:
            inner.append(to_directory(image, keys, directory))

    with pytest.raises(BuilderError, match=r"holds files of a bundle web\.img already"):
        to_directory(image, keys, directory, progress=progress)
    assert names(directory) == FILES


def test_progress_is_in_order_and_ends_at_the_size(image: Path, keys: Keys, directory: Path) -> None:
    seen: list[tuple[int, int]] = []
    to_directory(image, keys, directory, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (30 << 20, 30 << 20)
