"""Exactly one bundle removed, or copied."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.bundles import copy, remove, send
from builder.cloud import s3
from builder.cloud.s3 import Bucket
from builder.errors import BuilderError, RegionError
from builder.formats.manifest_reader import read_manifest
from tests.support.bundles import TestBundle
from tests.support.moved import bundle_of, laid_out, readers, under

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


class TestCopy:
    @pytest.fixture
    def target(self, images: Bucket) -> Bucket:
        name = f"test-{secrets.token_hex(8)}"
        images.client.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
        return replace(images, name=name)

    def test_to_another_bucket(self, images: Bucket, target: Bucket, local: Path, bundle: TestBundle, ec2: Any) -> None:
        send.upload(local, images, "web")
        parsed = read_manifest(bundle.manifest)
        moved: list[int] = []
        size = copy.copy_parts(images, "web", target, "there", parsed, progress=lambda done, total: moved.append(done))
        assert (size, moved[-1], under(target, "there/")) == (parsed.bundled_size,) * 2 + (dict(bundle.parts),)
        assert {frozenset(readers(target, key)) for key in s3.listed(target, "")} == {frozenset({"za-team"})}
        key = send.upload_manifest(bundle.manifest, bundle.manifest_name, target, "there")
        ec2.register_image(Name=f"copy-{secrets.token_hex(4)}", ImageLocation=f"{target.name}/{key}")
        assert copy.copy_parts(images, "web", target, "there", parsed) == 0
        lost = next(iter(bundle.parts))
        target.client.put_object(Bucket=target.name, Key=f"there/{lost}", Body=b"bent")
        assert copy.copy_parts(images, "web", target, "there", parsed) == 256
        assert under(target, "there/") == bundle.files()

    def test_never_over_another_bundle(self, images: Bucket, target: Bucket, local: Path, bundle: TestBundle) -> None:
        send.upload(local, images, "web")
        parsed = read_manifest(bundle.manifest)
        other = bundle_of(("disk.img.part.00",), (b"other",))
        for name, data in other.items():
            target.client.put_object(Bucket=target.name, Key=name, Body=data)
            with pytest.raises(RegionError, match=r"not of this bundle|is the manifest of another bundle"):
                copy.copy_parts(images, "web", target, "", parsed)
        assert under(target) == other

    def test_parts_without_checksums(self, images: Bucket, target: Bucket, bundle: TestBundle) -> None:
        for name, data in bundle.parts.items():
            images.client.put_object(Bucket=images.name, Key=name, Body=data)
        copy.copy_parts(images, "", target, "", read_manifest(bundle.manifest))
        assert under(target) == dict(bundle.parts)

    def test_a_damaged_part(self, images: Bucket, target: Bucket, local: Path, bundle: TestBundle) -> None:
        send.upload(local, images, "web")
        name = next(iter(bundle.parts))
        images.client.put_object(Bucket=images.name, Key=f"web/{name}", Body=bytes(256))
        with pytest.raises(RegionError, match=f"web/{name} is not the part that the manifest speaks of"):
            copy.copy_parts(images, "web", target, "there", read_manifest(bundle.manifest))
        assert name not in under(target, "there/")

    def test_a_missing_part(self, images: Bucket, target: Bucket, local: Path, bundle: TestBundle) -> None:
        with pytest.raises(BuilderError, match="parts are not there"):
            copy.copy_parts(images, "web", target, "there", read_manifest(bundle.manifest))
