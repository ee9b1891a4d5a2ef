import gzip
import random
import threading
import time
from collections.abc import Iterator

import pytest

from builder.errors import BuilderError, RegionError
from builder.formats import tar_reader, unseal
from builder.formats.bundle_cipher import SessionKey
from builder.formats.bundle_manifest import Part
from builder.formats.manifest_reader import read_manifest
from tests.support.forged import IV, KEY, Forged, Held, encrypt, forge, pack
from tests.support.tars import archive

SESSION = SessionKey(key=KEY, iv=IV)
NOISE = random.Random(7).randbytes(60_000)


class Stop(BaseException):
    """Stands for KeyboardInterrupt."""


class Image:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, offset: int, data: memoryview) -> None:
        self.data += bytes(offset - len(self.data)) + data


def unsealed(bundle: Forged, source: Held | None = None, progress: unseal.Progress = lambda done, total: None) -> bytes:
    manifest = read_manifest(bundle.manifest)
    image = Image()
    unseal.unseal(manifest, source or Held(bundle.parts), SESSION, image, progress)
    return bytes(image.data).ljust(manifest.size, b"\0")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("part_size", [100, 1000, 16 * 1000, 10 << 20])
@pytest.mark.parametrize("step", [13, 1 << 20])
def test_round_trip(part_size: int, step: int) -> None:
    bundle = forge(NOISE[:5000], part_size=part_size)
    source = Held(bundle.parts, step)
    assert unsealed(bundle, source) == NOISE[:5000]
    assert source.read_names == list(bundle.parts)


def test_progress_is_of_the_image_and_ends_at_its_size() -> None:
    seen: list[tuple[int, int, str]] = []
    content = NOISE + bytes(5 << 20)
    bundle = forge(content)
    unsealed(bundle, progress=lambda done, total: seen.append((done, total, threading.current_thread().name)))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert len(seen) >= 4
    assert seen[-1] == (len(content), len(content), threading.current_thread().name)


@pytest.mark.parametrize("at", [0, 40, 9_999, 25_000])
def test_damage_is_blamed_on_its_part_though_it_shows_earlier(at: int) -> None:
    """A flipped bit breaks the gzip stream long before the digest of its part is known."""
    bundle = forge(NOISE, part_size=10_000)
    name = list(bundle.parts)[at // 10_000]
    data = bytearray(bundle.parts[name])
    data[at % 10_000] ^= 1
    with pytest.raises(BuilderError) as caught:
        unsealed(bundle, Held({**bundle.parts, name: bytes(data)}, step=500))
    assert caught.value.brief == f"part {name} is damaged: its SHA-1 is not the one that the manifest gives"


def test_without_damage_the_stream_itself_is_blamed() -> None:
    bundle = forge(NOISE, packed=pack(archive(NOISE))[:-20], part_size=10_000)
    with pytest.raises(BuilderError, match="the gzip stream ends early"):
        unsealed(bundle)


def test_the_first_thing_wrong_is_named() -> None:
    bundle = forge(NOISE, part_size=10_000)
    names = list(bundle.parts)
    broken = {name: data[::-1] if name in (names[3], names[5]) else data for name, data in bundle.parts.items()}
    with pytest.raises(BuilderError, match=f"part {names[3]} is damaged"):
        unsealed(bundle, Held(broken))


def test_what_is_wrong_within_comes_before_damage_of_later_parts() -> None:
    tar = b"x" * 512 + random.Random(3).randbytes(20 << 20)
    bundle = forge(tar, tar=tar, packed=gzip.compress(tar, 0), part_size=1 << 20)
    last = list(bundle.parts)[-1]
    with pytest.raises(BuilderError, match="a header of the tar stream is damaged"):
        unsealed(bundle, Held({**bundle.parts, last: bundle.parts[last][::-1]}))


def test_a_source_that_fails_is_heard() -> None:
    class Failing(Held):
        def read(self, part: Part) -> Iterator[bytes]:
            if part.filename.endswith("2"):
                raise RegionError("the region went away")
            return super().read(part)

    bundle = forge(NOISE, part_size=10_000)
    with pytest.raises(RegionError, match="the region went away"):
        unsealed(bundle, Failing(bundle.parts))


@pytest.mark.parametrize("more", [b"", b"x"])
def test_a_part_that_changes_while_it_is_read(more: bytes) -> None:
    class Changing(Held):
        def read(self, part: Part) -> Iterator[bytes]:
            yield self.parts[part.filename][:-1]
            yield more * 2

    bundle = forge(NOISE)
    with pytest.raises(BuilderError, match=r"had \d+ bytes and gave \d+: it changed while it was being read"):
        unsealed(bundle, Changing(bundle.parts))


@pytest.mark.parametrize("where", ["write", "progress", "read"])
def test_an_interrupt_ends_every_thread(where: str) -> None:
    content = NOISE * 100

    class Stopping(Image):
        def write(self, offset: int, data: memoryview) -> None:
            if where == "write":
                raise Stop
            super().write(offset, data)

    class StoppingSource(Held):
        def read(self, part: Part) -> Iterator[bytes]:
            if where == "read" and part.filename.endswith("3"):
                raise Stop
            return super().read(part)

    def progress(done: int, total: int) -> None:
        if where == "progress":
            raise Stop

    bundle = forge(content, part_size=1_000_000)
    with pytest.raises(Stop):
        unseal.unseal(read_manifest(bundle.manifest), StoppingSource(bundle.parts), SESSION, Stopping(), progress)


def test_few_pieces_are_held_when_the_sink_is_slow() -> None:
    content = random.Random(1).randbytes(40 << 20)
    bundle = forge(content, packed=gzip.compress(archive(content), 0))
    taken = 0

    class Counting(Held):
        def read(self, part: Part) -> Iterator[bytes]:
            nonlocal taken
            for piece in super().read(part):
                taken += len(piece)
                yield piece

    seen: list[int] = []

    class Slow(Image):
        def write(self, offset: int, data: memoryview) -> None:
            if not seen:
                time.sleep(0.3)
                seen.append(taken)

    unseal.unseal(read_manifest(bundle.manifest), Counting(bundle.parts), SESSION, Slow())
    assert seen[0] <= 13 << 20
    assert taken == sum(map(len, bundle.parts.values()))


def test_a_stream_that_goes_on_is_stopped_at_the_size_of_its_image() -> None:
    packed = pack(archive(NOISE) + bytes(tar_reader.OVERHEAD * 3))
    with pytest.raises(BuilderError, match=r"inflates to more than \d+ bytes"):
        unsealed(forge(NOISE, packed=packed))


def test_padding_below_that_is_read_and_counts() -> None:
    tar = archive(NOISE) + bytes(512 * 1024)
    assert unsealed(forge(NOISE, tar=tar)) == NOISE
    with pytest.raises(BuilderError, match="the tar stream in the bundle has the SHA-1"):
        unsealed(forge(NOISE, packed=pack(tar)))


@pytest.mark.parametrize(
    ("cipher", "why"),
    [
        pytest.param(encrypt(pack(archive(NOISE)))[:-16], "does not decrypt: it is cut short", id="last-block-gone"),
        pytest.param(encrypt(pack(archive(NOISE)))[:-3], "does not decrypt: it is cut short", id="part-of-a-block"),
        pytest.param(encrypt(pack(archive(NOISE)), key=IV), "no gzip where a gzip stream should begin", id="other-key"),
        pytest.param(encrypt(pack(archive(NOISE)), iv=KEY), "no gzip where a gzip stream should begin", id="other-iv"),
        pytest.param(encrypt(b""), "there is no gzip stream: it is empty", id="nothing-in-it"),
        pytest.param(encrypt(pack(archive(NOISE)) + b"and more"), "no gzip where a gzip stream", id="garbage-after"),
        pytest.param(encrypt(archive(NOISE)), "no gzip where a gzip stream should begin", id="not-packed"),
    ],
)
def test_ciphertext_that_is_as_listed_and_wrong(cipher: bytes, why: str) -> None:
    with pytest.raises(BuilderError, match=why):
        unsealed(forge(NOISE, cipher=cipher))


def test_zeros_after_the_gzip_stream_are_passed_over() -> None:
    assert unsealed(forge(NOISE, packed=pack(archive(NOISE)) + bytes(512))) == NOISE


def test_check_parts_needs_no_key() -> None:
    bundle = forge(NOISE, part_size=10_000)
    manifest = read_manifest(bundle.manifest)
    seen: list[tuple[int, int]] = []
    unseal.check_parts(manifest, Held(bundle.parts), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (manifest.bundled_size, manifest.bundled_size)
    name = list(bundle.parts)[2]
    with pytest.raises(BuilderError, match=f"part {name} is damaged"):
        unseal.check_parts(manifest, Held({**bundle.parts, name: bundle.parts[name][::-1]}))
