"""Two bundles never mix."""

import secrets
from pathlib import Path

import pytest

from builder.bundles import send
from builder.cloud.s3 import Bucket
from builder.errors import RegionError
from builder.region.control import Status
from builder.region.identity import identity
from tests.support.bundles import TestBundle, make_bundle
from tests.support.moved import in_directory, laid_out, under


class TestNeverTwoBundles:
    @pytest.fixture
    def other(self, tmp_path: Path, region: Status) -> Path:
        """Another bundle of the same name, with more parts."""
        made = make_bundle(
            tmp_path / "made", identity(region.directory).certificate, part_size=256, content=secrets.token_bytes(4096)
        )
        return laid_out(tmp_path / "other", made.files(), made.manifest_name)

    def test_a_whole_one(self, images: Bucket, local: Path, other: Path) -> None:
        send.upload(local, images, "web")
        before = under(images)
        with pytest.raises(RegionError) as caught:
            send.upload(other, images, "web")
        assert caught.value.brief == f"s3://{images.name}/web/disk.img.manifest.xml is the manifest of another bundle"
        assert f"aws s3 rm s3://{images.name}/web/ --recursive --exclude '*'" in caught.value.hint
        assert "--include 'disk.img.manifest.xml' --include 'disk.img.part.[0-9]" in caught.value.hint
        assert under(images) == before

    def test_one_that_is_not_whole(self, images: Bucket, local: Path, other: Path) -> None:
        send.upload(local, images, "web", with_manifest=False)
        before = under(images)
        with pytest.raises(RegionError, match="objects that are not of this bundle"):
            send.upload(other, images, "web")
        assert under(images) == before

    def test_two_at_the_same_time(self, images: Bucket, local: Path, other: Path, bundle: TestBundle) -> None:
        """The second begins when the first has looked and found nothing."""
        calls = iter(range(100))

        def second(done: int, total: int) -> None:
            if next(calls) == 0:
                send.upload(other, images, "web")

        with pytest.raises(RegionError, match=f"another bundle is being put below s3://{images.name}/web/"):
            send.upload(local, images, "web", progress=second)
        assert under(images, "web/").items() >= in_directory(other.parent).items()
        with pytest.raises(RegionError, match="is the manifest of another bundle"):
            send.upload(local, images, "web")

    def test_the_same_one_twice_at_the_same_time(self, images: Bucket, local: Path, bundle: TestBundle) -> None:
        calls = iter(range(100))

        def second(done: int, total: int) -> None:
            if next(calls) == 0:
                send.upload(local, images, "web")

        send.upload(local, images, "web", progress=second)
        assert under(images, "web/") == bundle.files()

    def test_stale_parts(self, images: Bucket, local: Path) -> None:
        images.client.put_object(Bucket=images.name, Key="web/disk.img.part.77", Body=b"")
        with pytest.raises(RegionError, match="holds 1 objects that are not of this bundle") as caught:
            send.upload(local, images, "web")
        assert f"aws s3 rm s3://{images.name}/web/disk.img.part.77 --region" in caught.value.hint
        assert set(under(images)) == {"web/disk.img.part.77"}

    def test_neighbours_are_no_matter(self, images: Bucket, local: Path, bundle: TestBundle) -> None:
        neighbours = {
            name: b"x" for name in ("disk.img2.part.0", "disk.img.part.0.bak", "disk.img.part.x", "a/disk.img.part.99")
        }
        for name in neighbours:
            images.client.put_object(Bucket=images.name, Key=f"web/{name}", Body=b"x")
        send.upload(local, images, "web")
        assert under(images, "web/") == {**bundle.files(), **neighbours}
