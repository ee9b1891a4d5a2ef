"""Exactly one bundle removed."""

from pathlib import Path

import pytest

from builder.bundles import remove, send
from builder.cloud import s3
from builder.cloud.s3 import Bucket
from tests.support.bundles import TestBundle
from tests.support.moved import bundle_of, laid_out, under

NEIGHBOURS = {
    "disk.img.part.00",
    "web/deep/disk.img.part.00",
    "web/disk.img.part.00.bak",
    "web/disk.img.part.",
    "web/disk.img2.part.00",
    "web/disk.img2.manifest.xml",
    "web/diskximg.part.00",
    "web/xdisk.img.part.00",
}


class TestDelete:
    @pytest.fixture
    def there(self, images: Bucket, local: Path) -> Bucket:
        send.upload(local, images, "web")
        for name in NEIGHBOURS:
            images.client.put_object(Bucket=images.name, Key=name, Body=b"x")
        return images

    def test_exactly_one(self, there: Bucket, bundle: TestBundle) -> None:
        expected = remove.Removed(
            keys=tuple(f"web/{name}" for name in (bundle.manifest_name, *bundle.parts)),
            bytes=sum(map(len, bundle.files().values())),
        )
        before = under(there)
        assert remove.delete_bundle(there, "web", bundle.manifest_name, dry_run=True) == expected
        assert under(there) == before
        assert remove.delete_bundle(there, "web", bundle.manifest_name) == expected
        assert set(under(there)) == NEIGHBOURS
        assert remove.delete_bundle(there, "web", bundle.manifest_name) == remove.Removed(keys=(), bytes=0)

    def test_by_name(self, there: Bucket, bundle: TestBundle) -> None:
        there.client.delete_object(Bucket=there.name, Key=f"web/{bundle.manifest_name}")
        assert len(remove.delete_named(there, "web", "disk.img", dry_run=True).keys) == len(bundle.parts)
        remove.delete_named(there, "web", "disk.img")
        assert set(under(there)) == NEIGHBOURS

    def test_goes_on_where_a_removal_was_killed(self, there: Bucket, bundle: TestBundle) -> None:
        """The manifest goes first; the parts are found by its name then."""
        keys = remove.delete_bundle(there, "web", bundle.manifest_name, dry_run=True).keys
        s3.delete(there, keys[:4])
        assert remove.delete_bundle(there, "web", bundle.manifest_name).keys == keys[4:]
        assert set(under(there)) == NEIGHBOURS

    def test_names_that_could_not_be_found_again_go_before_the_manifest(self, images: Bucket, tmp_path: Path) -> None:
        files = bundle_of(("other (1).part.1", "other (1).part.2"), (b"one", b"two"))
        send.upload(laid_out(tmp_path / "foreign", files, "disk.img.manifest.xml"), images, "web")
        keys = ("web/other (1).part.1", "web/other (1).part.2", "web/disk.img.manifest.xml")
        assert remove.delete_bundle(images, "web", "disk.img.manifest.xml", dry_run=True).keys == keys
        s3.delete(images, keys[:1])
        assert remove.delete_bundle(images, "web", "disk.img.manifest.xml").keys == keys[1:]
        assert under(images) == {}

    def test_by_a_manifest_at_hand(self, there: Bucket, bundle: TestBundle) -> None:
        there.client.delete_object(Bucket=there.name, Key=f"web/{bundle.manifest_name}")
        removed = remove.delete_bundle(there, "web", bundle.manifest_name, manifest=bundle.manifest)
        assert removed.keys == tuple(f"web/{name}" for name in bundle.parts)

    def test_more_than_a_thousand(self, images: Bucket, tmp_path: Path) -> None:
        names = tuple(f"disk.img.part.{number:04}" for number in range(1030))
        files = bundle_of(names, tuple(b"%d" % number for number in range(1030)))
        manifest = laid_out(tmp_path / "many", files, "disk.img.manifest.xml")
        send.upload(manifest, images, "web")
        images.client.put_object(Bucket=images.name, Key="web/disk.img.part.0.bak", Body=b"")
        assert len(remove.delete_bundle(images, "web", "disk.img.manifest.xml").keys) == 1031
        assert set(under(images)) == {"web/disk.img.part.0.bak"}
