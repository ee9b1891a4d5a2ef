"""Straight from an image into S3: nothing touches the disk, and nothing is left of what failed."""

import hashlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builder.bundles import fetch, read, remove, send, write
from builder.bundles.contract import Description, Keys
from builder.bundles.image import Image as PipedImage
from builder.bundles.image import open_image
from builder.bundles.s3_parts import BUFFERS, S3Sink, S3Source
from builder.cloud import s3
from builder.cloud.s3 import Bucket
from builder.errors import RegionError
from builder.formats.bundle_stream import PART_SIZE, PartDigest
from builder.formats.manifest_reader import read_manifest
from builder.formats.sparse import Block
from builder.region.control import Status
from tests.support.links import Link, link
from tests.support.moved import (
    ACCOUNT,
    MIB,
    bundle_of,
    client_of,
    killed,
    laid_out,
    readers,
    under,
)

SAID = Description(name="disk.img", account=ACCOUNT, architecture="x86_64")


@dataclass
class Image:
    """An image of random bytes: it does not get smaller. Breaks, or does something, in the middle if told to."""

    size: int
    middle: Callable[[], None] = lambda: None

    def blocks(self) -> Iterator[Block]:
        for number in range(self.size // MIB):
            if number == 40:
                self.middle()
            yield Block(length=MIB, data=secrets.token_bytes(MIB))


@pytest.fixture(scope="session")
def keys() -> Keys:
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    return Keys(private_key=key, ec2=key.public_key())


class TestStraightToS3:
    def test_whole_and_readable(self, images: Bucket, keys: Keys, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        path.write_bytes(secrets.token_bytes(45 * MIB))
        with open_image(path) as image:
            sent = send.bundle_to_s3(image, SAID, keys, images, "web")
        found = s3.listed(images, "web/")
        assert (sent.sent, sent.manifest) == (sum(each.size for each in found.values()), "web/disk.img.manifest.xml")
        data = fetch.manifest(images, "web", "disk.img.manifest.xml")
        parsed = read_manifest(data)
        assert [found[f"web/{part.filename}"].size for part in parsed.parts[:-1]] == [PART_SIZE] * 4
        with S3Source(images, "web", parsed.parts) as source:
            out = read.unbundle(data, source, keys.private_key, tmp_path / "back.img")
        assert out.read_bytes() == path.read_bytes()
        assert {frozenset(readers(images, key)) for key in found} == {frozenset({"za-team"})}

    @pytest.mark.parametrize("error", [ValueError("the disk broke"), KeyboardInterrupt()])
    def test_nothing_is_left_of_one_that_failed(self, images: Bucket, keys: Keys, error: BaseException) -> None:
        def broken() -> None:
            raise error

        notes: list[str] = []
        with pytest.raises(type(error)):
            send.bundle_to_s3(Image(size=60 * MIB, middle=broken), SAID, keys, images, "web", note=notes.append)  # type: ignore[arg-type]
        assert under(images) == {}
        assert notes == [f"removed what was sent to s3://{images.name}/web/: the bundle failed"]

    def test_the_first_refusal_stops_the_producer(self, images: Bucket, keys: Keys) -> None:
        def forbid() -> None:
            controls = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
            images.client.put_bucket_ownership_controls(Bucket=images.name, OwnershipControls=controls)

        done: list[int] = []
        with pytest.raises(RegionError, match="does not allow ACLs"):
            send.bundle_to_s3(
                Image(size=400 * MIB, middle=forbid),  # type: ignore[arg-type]
                SAID,
                keys,
                images,
                "web",
                progress=lambda now, total: done.append(now),
            )
        assert done[-1] < 300 * MIB
        assert under(images) == {}

    def test_another_bundle_of_that_name_is_there(self, images: Bucket, keys: Keys) -> None:
        images.client.put_object(Bucket=images.name, Key="web/disk.img.part.3", Body=b"")
        with pytest.raises(RegionError, match="holds 1 objects that are not of this bundle"):
            send.bundle_to_s3(Image(size=MIB), SAID, keys, images, "web")  # type: ignore[arg-type]
        assert set(under(images)) == {"web/disk.img.part.3"}

    def test_interrupted_on_a_slow_link(self, region: Status, images: Bucket, keys: Keys, tmp_path: Path) -> None:
        """Ctrl-C does not wait for what is on its way: that would be a minute here."""
        contents = tuple(secrets.token_bytes(8 * MIB) for _ in range(4))
        files = bundle_of(tuple(f"disk.img.part.{number}" for number in range(4)), contents)
        manifest = laid_out(tmp_path / "large", files, "disk.img.manifest.xml")
        with link(region.endpoint_url, rate=MIB) as slow:
            bucket = replace(images, client=client_of(slow.url, tmp_path))
            works: tuple[Callable[[], object], ...] = (
                lambda: send.bundle_to_s3(Image(size=60 * MIB), SAID, keys, bucket, "straight"),  # type: ignore[arg-type]
                lambda: send.upload(manifest, bucket, "web"),
            )
            for work in works:
                began = time.monotonic()
                threading.Timer(2, os.kill, [os.getpid(), signal.SIGINT]).start()
                with pytest.raises(KeyboardInterrupt):
                    work()
                assert time.monotonic() - began < 20
        assert under(images) == {}

    def test_interrupted_while_the_image_does_not_come(self, images: Bucket, keys: Keys) -> None:
        """From a pipe whose other end neither writes nor goes away."""
        reader, writer = os.pipe()
        image = PipedImage(where="standard input", size=60 * MIB, descriptor=reader, pipe=True)
        release = threading.Timer(20, os.close, [writer])
        release.start()
        began = time.monotonic()
        threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            send.bundle_to_s3(image, SAID, keys, images, "web")
        assert time.monotonic() - began < 15
        release.cancel()
        os.close(reader)
        os.close(writer)
        assert under(images) == {}

    def test_another_bundle_comes_meanwhile(self, images: Bucket, keys: Keys) -> None:
        """What was sent is removed again, the other's is not."""
        key = f"web/{write.stream_names('disk.img', 90 * MIB)[6]}"

        def other() -> None:
            images.client.put_object(Bucket=images.name, Key=key, Body=b"other")

        with pytest.raises(RegionError, match="another bundle is being put below"):
            send.bundle_to_s3(Image(size=90 * MIB, middle=other), SAID, keys, images, "web")  # type: ignore[arg-type]
        assert under(images) == {key: b"other"}

    def test_another_manifest_comes_meanwhile(self, images: Bucket, keys: Keys) -> None:
        """Its parts need not have our parts' names: other tools write .part.00 where we write .part.0."""
        other = {"web/disk.img.part.00": b"other", "web/disk.img.manifest.xml": b"<other/>"}

        def sent() -> None:
            for key, data in other.items():
                images.client.put_object(Bucket=images.name, Key=key, Body=data)

        with pytest.raises(RegionError, match="another bundle is being put below"):
            send.bundle_to_s3(Image(size=50 * MIB, middle=sent), SAID, keys, images, "web")  # type: ignore[arg-type]
        assert under(images) == other

    def test_killed_it_leaves_no_manifest(self, region: Status, images: Bucket, keys: Keys, tmp_path: Path) -> None:
        def bundled(fresh: Bucket) -> None:
            image = Image(size=60 * MIB, middle=lambda: os.kill(os.getpid(), signal.SIGKILL))
            send.bundle_to_s3(image, SAID, keys, fresh, "web")  # type: ignore[arg-type]

        killed(region, images, tmp_path, bundled)
        left = set(under(images))
        assert not any(key.endswith(".xml") for key in left)
        if left:
            with pytest.raises(RegionError, match="objects that are not of this bundle"):
                send.bundle_to_s3(Image(size=MIB), SAID, keys, images, "web")  # type: ignore[arg-type]
        remove.delete_bundle(images, "web", "disk.img.manifest.xml")
        assert under(images) == {}

    def test_over_a_bad_link(self, over: Bucket, bad: Link, keys: Keys) -> None:
        bad.cut_requests += [3 * MIB, 4 * MIB]
        bad.refusals = 1
        sent = send.bundle_to_s3(Image(size=30 * MIB), SAID, keys, over, "web")  # type: ignore[arg-type]
        assert bad.cut_requests == []
        assert sum(each.size for each in s3.listed(over, "web/").values()) == sent.sent

    def test_a_slow_link_is_no_failure(self, images: Bucket, region: Status, tmp_path: Path) -> None:
        """A part takes longer than a connection may take to be made."""
        data = bytes(8 * MIB)
        digest = PartDigest(length=len(data), sha1=hashlib.sha1(data).hexdigest())
        with link(region.endpoint_url, rate=2 * MIB) as slow:
            bucket = replace(images, client=client_of(slow.url, tmp_path))
            with S3Sink(bucket, "web", ["p.part.0"]) as sink:
                sink.write(0, memoryview(data))
                sink.end(0, digest)
                sink.keep("p.manifest.xml", b"manifest")
        assert under(images, "web/") == {"p.part.0": data, "p.manifest.xml": b"manifest"}

    def test_the_sink_waits_when_nothing_leaves(self, over: Bucket, region: Status) -> None:
        """Back-pressure: no more than so many parts are taken before one has gone."""
        taken: list[int] = []
        names = [f"p.part.{number:02}" for number in range(BUFFERS * 2)]
        digest = PartDigest(length=MIB, sha1=hashlib.sha1(bytes(MIB)).hexdigest())
        with link(region.endpoint_url, rate=8 * MIB) as slow:
            bucket = replace(over, client=client_of(slow.url, Path()))
            with S3Sink(bucket, "web", names) as sink:
                for index in range(len(names)):
                    sink.write(index, memoryview(bytes(MIB)))
                    arrived = len(s3.listed(over, "web/"))
                    taken.append(index + 1 - arrived)
                    sink.end(index, digest)
                sink.keep("p.manifest.xml", b"manifest")
        assert max(taken) <= BUFFERS
        assert len(under(over, "web/")) == len(names) + 1
