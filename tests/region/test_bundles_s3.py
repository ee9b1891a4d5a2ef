"""Bundles on their way to S3 and back, over real HTTP: killed, cut, throttled, mixed up and tampered with."""

import hashlib
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builder.bundles import copy, fetch, read, remove, send, write
from builder.bundles.contract import Description, Keys
from builder.bundles.image import open_image
from builder.bundles.s3_parts import BUFFERS, S3Sink, S3Source
from builder.cloud import buckets, s3, session
from builder.cloud.s3 import Bucket
from builder.errors import BuilderError, RegionError
from builder.formats.bundle_manifest import SIZE_LIMIT, BundleManifest, Part, format_manifest
from builder.formats.bundle_stream import PART_SIZE, PartDigest
from builder.formats.manifest_reader import read_manifest
from builder.formats.sparse import Block
from builder.region.control import Status
from builder.region.identity import identity
from builder.stages.contract import Surroundings
from tests.support.bundles import TestBundle, make_bundle
from tests.support.links import Link, link

FORK = multiprocessing.get_context("fork")
ACCOUNT = "123456789012"
EC2 = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
MIB = 1 << 20


def client_of(endpoint_url: str, path: Path) -> Any:
    surroundings = Surroundings(state=path, cache=path, trees=path, endpoint_url=endpoint_url)
    return session.client("s3", surroundings, "local")


@pytest.fixture(scope="session")
def bundle(region: Status, tmp_path_factory: pytest.TempPathFactory) -> TestBundle:
    """Of some twenty parts of 256 bytes."""
    made = make_bundle(
        tmp_path_factory.mktemp("bundle"),
        identity(region.directory).certificate,
        part_size=256,
        content=secrets.token_bytes(5000),
    )
    assert len(made.parts) > 20
    return made


@pytest.fixture
def images(region: Status, bucket: str, tmp_path: Path) -> Bucket:
    return Bucket(client=client_of(region.endpoint_url, tmp_path), name=bucket, account=ACCOUNT)


@pytest.fixture
def bad(region: Status) -> Iterator[Link]:
    with link(region.endpoint_url) as made:
        yield made


@pytest.fixture
def over(images: Bucket, bad: Link, tmp_path: Path) -> Bucket:
    """The same bucket over the bad link."""
    return replace(images, client=client_of(bad.url, tmp_path))


@pytest.fixture
def local(tmp_path: Path, bundle: TestBundle) -> Path:
    """The manifest of the bundle in a directory."""
    return laid_out(tmp_path / "local", bundle.files(), bundle.manifest_name)


def laid_out(directory: Path, files: Mapping[str, bytes], manifest: str) -> Path:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory / manifest


def bundle_of(names: tuple[str, ...], contents: tuple[bytes, ...], name: str = "disk.img") -> dict[str, bytes]:
    """Files of a bundle whose parts have any names and contents; its manifest is the last."""
    parts = tuple(
        Part(filename=each, sha1=hashlib.sha1(data).hexdigest()) for each, data in zip(names, contents, strict=True)
    )
    manifest = BundleManifest(
        name=name,
        account=ACCOUNT,
        architecture="x86_64",
        digest="00" * 20,
        size=1,
        bundled_size=sum(map(len, contents)),
        ec2_encrypted_key="00",
        user_encrypted_key="00",
        ec2_encrypted_iv="00",
        user_encrypted_iv="00",
        parts=parts,
    )
    text = format_manifest(manifest, lambda signed: b"\0")
    return {**dict(zip(names, contents, strict=True)), f"{name}.manifest.xml": text}


class Deadly:
    """A progress that kills its own process at the sixth call."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, done: int, total: int) -> None:
        self._calls += 1
        if self._calls == 6:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(region: Status, bucket: Bucket, path: Path, work: Callable[[Bucket], object]) -> None:
    """Do work that is killed, in a process of its own, whose connections are its own too."""
    child = FORK.Process(target=lambda: work(replace(bucket, client=client_of(region.endpoint_url, path))))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


def under(bucket: Bucket, prefix: str = "") -> dict[str, bytes]:
    return {
        key.removeprefix(prefix): bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
        for key in s3.listed(bucket, prefix)
    }


def in_directory(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def readers(bucket: Bucket, key: str) -> set[str]:
    grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=key)["Grants"]
    return {
        each["Grantee"].get("DisplayName", each["Grantee"].get("URI"))
        for each in grants
        if each["Permission"] == "READ"
    }


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
            buckets_open(images)
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


def buckets_open(bucket: Bucket) -> None:
    bucket.client.delete_public_access_block(Bucket=bucket.name)


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


class TestWhetherEc2MayRead:
    """Told before a byte is sent; and the local region registers exactly what EC2 could read."""

    @pytest.fixture
    def modern(self, images: Bucket) -> Bucket:
        """A bucket as S3 makes them since April 2023."""
        name = f"test-{secrets.token_hex(8)}"
        images.client.create_bucket(Bucket=name)
        return replace(images, name=name)

    def test_no_acls(self, modern: Bucket, local: Path) -> None:
        with pytest.raises(RegionError, match="does not allow ACLs, so EC2 could not read the bundle"):
            send.upload(local, modern, "web")
        assert under(modern) == {}

    def test_no_acls_but_a_policy(self, modern: Bucket, local: Path, ec2: Any) -> None:
        with pytest.raises(RegionError) as caught:
            send.upload(local, modern, "web")
        policy = caught.value.detail.partition("--policy '")[2].partition("'")[0]
        modern.client.put_bucket_policy(Bucket=modern.name, Policy=policy)
        sent = send.upload(local, modern, "web")
        ec2.register_image(Name=f"policy-{secrets.token_hex(4)}", ImageLocation=sent.location)
        with pytest.raises(RegionError, match="does not allow ACLs"):
            send.upload(local, modern, "other")
        modern.client.delete_bucket_policy(Bucket=modern.name)
        with pytest.raises(Exception, match="HTTP 403"):
            ec2.register_image(Name=f"policy-{secrets.token_hex(4)}", ImageLocation=sent.location)

    def test_acls_allowed_again(self, modern: Bucket, local: Path, ec2: Any) -> None:
        controls = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        modern.client.put_bucket_ownership_controls(Bucket=modern.name, OwnershipControls=controls)
        sent = send.upload(local, modern, "web")
        ec2.register_image(Name=f"owned-{secrets.token_hex(4)}", ImageLocation=sent.location)

    def test_kms(self, images: Bucket, local: Path, ec2: Any) -> None:
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        settings = {"Bucket": images.name, "ServerSideEncryptionConfiguration": {"Rules": rules}}
        images.client.put_bucket_encryption(**settings)
        with pytest.raises(RegionError, match="encrypts with a key of KMS, so EC2 could not read the bundle"):
            send.upload(local, images, "web")
        assert under(images) == {}

    def test_what_kms_encrypted_is_sent_again(self, images: Bucket, local: Path, bundle: TestBundle, ec2: Any) -> None:
        """A bundle that was there when the bucket still used KMS: nobody but its owner can read that."""
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        images.client.put_bucket_encryption(Bucket=images.name, ServerSideEncryptionConfiguration={"Rules": rules})
        name, data = next(iter(bundle.parts.items()))
        place = {"Bucket": images.name, "Key": f"web/{name}"}
        images.client.put_object(**place, Body=data, ACL="aws-exec-read", ChecksumAlgorithm="SHA1")
        head = images.client.head_object(**place, ChecksumMode="ENABLED")
        assert (head["ServerSideEncryption"], head["ETag"] == f'"{hashlib.md5(data).hexdigest()}"') == (
            "aws:kms",
            False,
        )
        images.client.delete_bucket_encryption(Bucket=images.name)
        assert s3.stored(images, f"web/{name}") == s3.Stored(size=256, sha1=hashlib.sha1(data).hexdigest(), kms=True)
        sent = send.upload(local, images, "web", own_prefix=True)
        assert sent.kept == 0
        ec2.register_image(Name=f"kms-{secrets.token_hex(4)}", ImageLocation=sent.location)

    def test_public_read(self, images: Bucket, local: Path, ec2: Any) -> None:
        with pytest.raises(RegionError, match="blocks public access, so the ACL public-read would not let EC2 read"):
            send.upload(local, images, "web", acl="public-read")
        assert under(images) == {}
        buckets_open(images)
        sent = send.upload(local, images, "web", acl="public-read")
        ec2.register_image(Name=f"public-{secrets.token_hex(4)}", ImageLocation=sent.location)

    def test_a_bucket_is_made_once(self, images: Bucket) -> None:
        fresh = replace(images, name=f"test.{secrets.token_hex(8)}")
        assert (buckets.ensure_bucket(fresh), buckets.ensure_bucket(fresh)) == (True, False)
        with pytest.raises(RegionError, match="is not yours to use"):
            buckets.ensure_bucket(replace(fresh, account="210987654321"))
        assert buckets.delete_empty(fresh)


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


SAID = Description(name="disk.img", account=ACCOUNT, architecture="x86_64")


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
            for work in (
                lambda: send.bundle_to_s3(Image(size=60 * MIB), SAID, keys, bucket, "straight"),  # type: ignore[arg-type]
                lambda: send.upload(manifest, bucket, "web"),
            ):
                began = time.monotonic()
                threading.Timer(2, os.kill, [os.getpid(), signal.SIGINT]).start()
                with pytest.raises(KeyboardInterrupt):
                    work()
                assert time.monotonic() - began < 20
        assert under(images) == {}

    def test_another_bundle_comes_meanwhile(self, images: Bucket, keys: Keys) -> None:
        """What was sent is removed again, the other's is not."""

        key = f"web/{write.stream_names('disk.img', 90 * MIB)[6]}"

        def other() -> None:
            images.client.put_object(Bucket=images.name, Key=key, Body=b"other")

        with pytest.raises(RegionError, match="another bundle is being put below"):
            send.bundle_to_s3(Image(size=90 * MIB, middle=other), SAID, keys, images, "web")  # type: ignore[arg-type]
        assert under(images) == {key: b"other"}

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
        digest = PartDigest(length=len(data), sha1=hashlib.sha1(data).hexdigest(), sha256="")
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
        digest = PartDigest(length=MIB, sha1=hashlib.sha1(bytes(MIB)).hexdigest(), sha256="")
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
