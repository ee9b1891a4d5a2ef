"""Downloads into a directory, and parts that are read ahead."""

import errno
import hashlib
import os
import secrets
from pathlib import Path

import pytest

from builder.bundles import fetch, send
from builder.bundles.s3_parts import S3Source
from builder.cloud.s3 import Bucket
from builder.errors import BuilderError, HostError, RegionError
from builder.formats.bundle_manifest import SIZE_LIMIT, Part
from builder.formats.bundle_stream import PART_SIZE
from builder.region.control import Status
from tests.support.bundles import TestBundle
from tests.support.links import Link
from tests.support.moved import (
    MIB,
    Deadly,
    bundle_of,
    in_directory,
    killed,
)


class TestDownload:
    @pytest.fixture
    def there(self, images: Bucket, local: Path) -> Bucket:
        send.upload(local, images, "web")
        return images

    @pytest.fixture
    def here(self, tmp_path: Path) -> Path:
        path = tmp_path / "here"
        path.mkdir()
        return path

    def test_whole(self, there: Bucket, here: Path, bundle: TestBundle) -> None:
        told: list[tuple[int, int]] = []
        path = fetch.download(
            there, "web", bundle.manifest_name, here, progress=lambda done, total: told.append((done, total))
        )
        assert path == here / bundle.manifest_name
        assert in_directory(here) == bundle.files()
        size = sum(map(len, bundle.parts.values()))
        assert (told[0], told[-1]) == ((0, size), (size, size))
        assert fetch.manifest_names(there, "web") == (bundle.manifest_name,)

    def test_what_is_here_is_kept(self, there: Bucket, here: Path, bundle: TestBundle) -> None:
        name, data = next(iter(bundle.parts.items()))
        (here / name).write_bytes(data)
        there.client.put_object(Bucket=there.name, Key=f"web/{name}", Body=bytes(256))  # never asked for
        fetch.download(there, "web", bundle.manifest_name, here)
        assert in_directory(here) == bundle.files()

    def test_killed_and_run_again(
        self, region: Status, there: Bucket, here: Path, bundle: TestBundle, tmp_path: Path
    ) -> None:
        def fetched(fresh: Bucket) -> None:
            fetch.download(fresh, "web", bundle.manifest_name, here, progress=Deadly())

        killed(region, there, tmp_path, fetched)
        assert [each.name for each in here.iterdir()] == [f".{bundle.manifest_name}.fetching"]
        told: list[int] = []
        fetch.download(there, "web", bundle.manifest_name, here, progress=lambda done, total: told.append(done))
        assert told[0] >= 5 * 256 - 256
        assert in_directory(here) == bundle.files()

    def test_a_part_of_another_digest(self, there: Bucket, here: Path, bundle: TestBundle) -> None:
        name = list(bundle.parts)[3]
        there.client.put_object(Bucket=there.name, Key=f"web/{name}", Body=bytes(256))
        with pytest.raises(BuilderError, match=f"web/{name} is not the part that the manifest speaks of"):
            fetch.download(there, "web", bundle.manifest_name, here)
        assert [each.name for each in here.iterdir()] == [f".{bundle.manifest_name}.fetching"]
        there.client.put_object(Bucket=there.name, Key=f"web/{name}", Body=bundle.parts[name])
        fetch.download(there, "web", bundle.manifest_name, here)
        assert in_directory(here) == bundle.files()

    @pytest.mark.parametrize("what", ["missing", "longer"])
    def test_parts_that_cannot_be_right_are_not_fetched(
        self, there: Bucket, here: Path, bundle: TestBundle, what: str
    ) -> None:
        key = f"web/{list(bundle.parts)[2]}"
        if what == "missing":
            there.client.delete_object(Bucket=there.name, Key=key)
        else:
            there.client.put_object(Bucket=there.name, Key=key, Body=bytes(257))
        with pytest.raises(BuilderError, match=r"parts are not there|and the manifest says"):
            fetch.download(there, "web", bundle.manifest_name, here)
        assert list(here.iterdir()) == []

    def test_other_files_of_these_names(self, there: Bucket, here: Path, bundle: TestBundle, tmp_path: Path) -> None:
        name = next(iter(bundle.parts))
        (here / name).write_bytes(b"other")
        (here / bundle.manifest_name).symlink_to(tmp_path / "nowhere")
        with pytest.raises(BuilderError, match="holds 2 other files of these names") as caught:
            fetch.download(there, "web", bundle.manifest_name, here)
        assert caught.value.detail.splitlines() == [bundle.manifest_name, name]
        assert (here / name).read_bytes() == b"other"
        fetch.download(there, "web", bundle.manifest_name, here, force=True)
        assert in_directory(here) == bundle.files()
        assert not (tmp_path / "nowhere").exists()

    def test_no_such_bundle_and_no_such_directory(self, there: Bucket, here: Path, bundle: TestBundle) -> None:
        with pytest.raises(RegionError, match="NoSuchKey"):
            fetch.download(there, "web", "other.manifest.xml", here)
        assert list(here.iterdir()) == []
        with pytest.raises(BuilderError, match="is no directory to put a bundle into"):
            fetch.download(there, "web", bundle.manifest_name, here / "none" / "such")

    def test_a_disk_that_is_read_only(
        self, there: Bucket, here: Path, bundle: TestBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(path: Path, *_: object, **__: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        monkeypatch.setattr(os, "mkdir", refused)
        with pytest.raises(HostError, match="Read-only file system"):
            fetch.download(there, "web", bundle.manifest_name, here)

    def test_a_manifest_that_is_none(self, there: Bucket, here: Path) -> None:
        key = "web/huge.manifest.xml"
        there.client.put_object(Bucket=there.name, Key=key, Body=bytes(SIZE_LIMIT + 1))
        with pytest.raises(BuilderError, match="is no bundle manifest: it has more than"):
            fetch.download(there, "web", "huge.manifest.xml", here)
        there.client.put_object(Bucket=there.name, Key=key, Body=b"")
        with pytest.raises(BuilderError):
            fetch.download(there, "web", "huge.manifest.xml", here)

    @pytest.mark.parametrize("name", ["../escape", "/etc/escape", "..", ".", "a/b", "", "a\x00b"])
    def test_hostile_names(self, images: Bucket, here: Path, name: str) -> None:
        text = bundle_of(("disk.img.part.0",), (b"x",))["disk.img.manifest.xml"]
        text = text.replace(b"<filename>disk.img.part.0<", b"<filename>%s<" % name.encode())
        images.client.put_object(Bucket=images.name, Key="web/disk.img.manifest.xml", Body=text)
        with pytest.raises(BuilderError):
            fetch.download(images, "web", "disk.img.manifest.xml", here)
        assert list(here.iterdir()) == []

    def test_two_at_once(self, there: Bucket, here: Path, bundle: TestBundle) -> None:
        def again(done: int, total: int) -> None:
            with pytest.raises(BuilderError, match="another process is fetching"):
                fetch.download(there, "web", bundle.manifest_name, here)

        fetch.download(there, "web", bundle.manifest_name, here, progress=again)

    def test_cut_connections(self, over: Bucket, bad: Link, there: Bucket, here: Path, bundle: TestBundle) -> None:
        bad.cut_answers += [900, 1000, 1100]
        fetch.download(over, "web", bundle.manifest_name, here)
        assert bad.cut_answers == []
        assert in_directory(here) == bundle.files()


class TestSource:
    @pytest.fixture
    def parts(self, images: Bucket) -> dict[str, bytes]:
        made = {
            "p.part.0": secrets.token_bytes(PART_SIZE),
            "p.part.1": secrets.token_bytes(2 * PART_SIZE + 5),
            "p.part.2": secrets.token_bytes(7),
            "p.part.3": b"",
        }
        for name, data in made.items():
            images.client.put_object(Bucket=images.name, Key=f"web/{name}", Body=data)
        return made

    @pytest.fixture
    def listed(self, parts: dict[str, bytes]) -> tuple[Part, ...]:
        return tuple(Part(filename=name, sha1=hashlib.sha1(data).hexdigest()) for name, data in parts.items())

    def test_in_order_twice_and_any_order(
        self, images: Bucket, parts: dict[str, bytes], listed: tuple[Part, ...]
    ) -> None:
        with S3Source(images, "web", listed) as source:
            assert source.lengths() == {name: len(data) for name, data in parts.items()}
            for order in (listed, listed, listed[::-1]):
                for part in order:
                    pieces = list(source.read(part))
                    assert b"".join(pieces) == parts[part.filename]
                    assert all(len(piece) <= MIB for piece in pieces)

    def test_a_part_that_was_left_in_the_middle(
        self, images: Bucket, parts: dict[str, bytes], listed: tuple[Part, ...]
    ) -> None:
        with S3Source(images, "web", listed) as source:
            half = source.read(listed[1])
            for _ in range(11):
                next(half)
            half.close()  # type: ignore[attr-defined]
            assert b"".join(source.read(listed[1])) == parts["p.part.1"]

    def test_cut_in_the_middle_of_a_part(
        self, over: Bucket, bad: Link, parts: dict[str, bytes], listed: tuple[Part, ...]
    ) -> None:
        bad.cut_answers += [3 * MIB, 5 * MIB, 6 * MIB]
        with S3Source(over, "web", listed) as source:
            found = {part.filename: b"".join(source.read(part)) for part in listed}
        assert found == parts
        assert bad.cut_answers == []

    def test_replaced_while_it_is_read(self, images: Bucket, parts: dict[str, bytes], listed: tuple[Part, ...]) -> None:
        with S3Source(images, "web", listed) as source:
            source.lengths()
            images.client.put_object(Bucket=images.name, Key="web/p.part.0", Body=bytes(PART_SIZE))
            with pytest.raises(RegionError, match=r"web/p\.part\.0 was replaced while it was read"):
                list(source.read(listed[0]))

    def test_a_part_that_is_not_there(self, images: Bucket, listed: tuple[Part, ...]) -> None:
        with S3Source(images, "web", listed) as source, pytest.raises(BuilderError, match=r"web/none is not there"):
            list(source.read(Part(filename="none", sha1="0" * 40)))
