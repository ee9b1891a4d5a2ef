"""Uploads: what is missing is sent, what is wrong is not."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.bundles import send
from builder.cloud import s3
from builder.cloud.s3 import Bucket
from builder.errors import BuilderError, RegionError
from builder.region.control import Status
from tests.support.bundles import TestBundle
from tests.support.links import Link
from tests.support.moved import Deadly, bundle_of, in_directory, killed, laid_out, open_to_public, readers, under


class TestUpload:
    def test_all_then_nothing_then_registered(self, images: Bucket, local: Path, bundle: TestBundle, ec2: Any) -> None:
        total = sum(map(len, bundle.files().values()))
        sent = send.upload(local, images, "web/1")
        key = f"web/1/{bundle.manifest_name}"
        assert sent == send.Sent(location=f"{images.name}/{key}", manifest=key, sent=total, kept=0)
        assert under(images, "web/1/") == bundle.files()
        assert {frozenset(readers(images, each)) for each in s3.listed(images, "")} == {frozenset({"za-team"})}
        assert send.upload(local, images, "web/1") == replace(sent, sent=0, kept=total)
        ec2.register_image(Name=f"send-{secrets.token_hex(4)}", ImageLocation=sent.location)

    def test_at_the_top_of_a_bucket_beside_other_bundles(
        self, images: Bucket, local: Path, bundle: TestBundle, tmp_path: Path
    ) -> None:
        other = laid_out(
            tmp_path / "other", bundle_of(("disk.img2.part.0",), (b"x",), "disk.img2"), "disk.img2.manifest.xml"
        )
        assert send.upload(other, images, "").location == f"{images.name}/disk.img2.manifest.xml"
        assert send.upload(local, images, "").kept == 0
        assert under(images) == {**bundle.files(), **in_directory(other.parent)}

    def test_killed_and_run_again(
        self, region: Status, images: Bucket, local: Path, bundle: TestBundle, tmp_path: Path
    ) -> None:
        killed(region, images, tmp_path, lambda fresh: send.upload(local, fresh, "web", progress=Deadly()))
        left = under(images, "web/")
        assert left.items() <= bundle.parts.items()
        assert len(left) >= 5
        sent = send.upload(local, images, "web")
        assert sent.kept >= sum(map(len, left.values()))
        assert under(images, "web/") == bundle.files()

    def test_only_what_is_missing_or_damaged_is_sent(self, images: Bucket, local: Path, bundle: TestBundle) -> None:
        total = send.upload(local, images, "web").sent
        lost, bent = list(bundle.parts)[:2]
        images.client.delete_object(Bucket=images.name, Key=f"web/{lost}")
        images.client.put_object(Bucket=images.name, Key=f"web/{bent}", Body=bytes(256))
        sent = send.upload(local, images, "web")
        assert (sent.sent, sent.kept) == (512 + len(bundle.manifest), total - 512 - len(bundle.manifest))
        assert under(images, "web/") == bundle.files()

    def test_in_steps(self, images: Bucket, local: Path, bundle: TestBundle) -> None:
        send.upload(local, images, "web", first=2, with_manifest=False)
        assert under(images, "web/") == dict(list(bundle.parts.items())[2:])
        send.upload(local, images, "web", with_manifest=False)
        assert under(images, "web/") == dict(bundle.parts)
        assert send.upload(local, images, "web").sent == len(bundle.manifest)

    def test_parts_elsewhere(self, images: Bucket, local: Path, bundle: TestBundle, tmp_path: Path) -> None:
        manifest = tmp_path / bundle.manifest_name
        local.rename(manifest)
        send.upload(manifest, images, "web", directory=local.parent)
        assert under(images, "web/") == bundle.files()

    def test_a_foreign_bundle_that_another_tool_began_to_send(self, images: Bucket, tmp_path: Path) -> None:
        """Other names, no checksums in S3: the ETag tells."""
        files = bundle_of(("other (1).part.1", "other (1).part.2"), (b"one", b"two"))
        manifest = laid_out(tmp_path / "foreign", files, "disk.img.manifest.xml")
        images.client.put_object(Bucket=images.name, Key="web/other (1).part.2", Body=b"two")
        assert send.upload(manifest, images, "web").kept == 3
        assert under(images, "web/") == files

    def test_what_another_tool_sent_where_ec2_could_not_read_it(
        self, images: Bucket, local: Path, bundle: TestBundle, ec2: Any
    ) -> None:
        for name, data in bundle.files().items():
            images.client.put_object(Bucket=images.name, Key=f"web/{name}", Body=data)
        sent = send.upload(local, images, "web")
        assert sent.sent == 0
        assert {frozenset(readers(images, each)) for each in s3.listed(images, "")} == {frozenset({"za-team"})}
        ec2.register_image(Name=f"opened-{secrets.token_hex(4)}", ImageLocation=sent.location)

    @pytest.mark.parametrize("public", [True, False])
    def test_large_parts_are_streamed(self, images: Bucket, tmp_path: Path, public: bool) -> None:
        files = bundle_of(("disk.img.part.0",), (secrets.token_bytes(send.IN_MEMORY + 1),))
        manifest = laid_out(tmp_path / "large", files, "disk.img.manifest.xml")
        if public:
            open_to_public(images)
        send.upload(manifest, images, "web", acl="public-read" if public else "aws-exec-read")
        assert under(images, "web/") == files
        group = "http://acs.amazonaws.com/groups/global/AllUsers"
        assert readers(images, "web/disk.img.part.0") == ({group} if public else {"za-team"})

    def test_a_part_of_another_size_stops_it_before_anything_is_sent(
        self, images: Bucket, local: Path, bundle: TestBundle
    ) -> None:
        with (local.parent / next(iter(bundle.parts))).open("ab") as file:
            file.write(b"x")
        with pytest.raises(BuilderError, match=f"bytes, and the manifest {bundle.manifest_name} says"):
            send.upload(local, images, "web")
        (local.parent / next(iter(bundle.parts))).unlink()
        with pytest.raises(BuilderError, match=r"the part .*disk\.img\.part\.00? is not there"):
            send.upload(local, images, "web")
        assert under(images) == {}

    @pytest.mark.parametrize("there", [False, True])
    def test_a_part_of_another_digest_is_never_accepted(
        self, images: Bucket, local: Path, bundle: TestBundle, there: bool
    ) -> None:
        """Not even where S3 has the very same wrong bytes, from a tool that told it no checksum."""
        name = next(iter(bundle.parts))
        (local.parent / name).write_bytes(bytes(256))
        if there:
            images.client.put_object(Bucket=images.name, Key=f"web/{name}", Body=bytes(256))
        with pytest.raises(BuilderError, match=f"{name} is not the part that the manifest speaks of"):
            send.upload(local, images, "web")
        assert bundle.manifest_name not in under(images, "web/")

    def test_a_cut_connection_and_throttling(self, over: Bucket, bad: Link, local: Path, bundle: TestBundle) -> None:
        bad.cut_requests += [900, 1000]
        bad.refusals = 2
        send.upload(local, over, "web")
        assert (bad.cut_requests, bad.refusals) == ([], 0)
        assert under(over, "web/") == bundle.files()

    def test_throttled_for_ever(self, over: Bucket, bad: Link, local: Path) -> None:
        bad.refusals = 10_000
        with pytest.raises(RegionError, match="the region is throttling requests, many tries long"):
            send.upload(local, over, "web")
