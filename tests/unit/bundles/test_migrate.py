"""Manifests made good for another region: bundles of every tool, and what they say afterwards."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from builder.bundles import migrate
from builder.bundles.contract import Keys
from builder.errors import BuilderError, RecipeError, RegionError
from builder.formats import bundle_cipher
from builder.formats.manifest_reader import objections, read_manifest, verify_signature
from tests.support.bundles import AMI_TOOLS, VERSION_3, WRITERS, TestBundle, Writer, make_bundle, make_user

SIGNED = tuple(each for each in WRITERS if each.signed)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The directories of two regions' key and certificate."""
    found = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for each in found:
        make_user(each)
    return found


def keys_of(bundle: TestBundle, region: Path) -> Keys:
    return Keys(
        private_key=bundle_cipher.load_private_key(bundle.user_key.read_bytes()),
        ec2=bundle_cipher.load_public_key((region / "cert.pem").read_bytes()),
    )


def opens(data: bytes, region: Path) -> tuple[str, str]:
    """Key and IV, as that region's EC2 reads them."""
    manifest = read_manifest(data)
    key = bundle_cipher.load_private_key((region / "pk.pem").read_bytes())
    session = bundle_cipher.unwrap_pair(manifest.ec2_encrypted_key, manifest.ec2_encrypted_iv, key)
    return session.key.hex(), session.iv.hex()


@pytest.mark.parametrize("writer", SIGNED, ids=str)
def test_bundles_of_every_tool(writer: Writer, pairs: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = pairs
    bundle = make_bundle(
        tmp_path,
        first / "cert.pem",
        writer=writer,
        ramdisk_id="ari-11111111",
        product_codes=("ABCD", "EFGH"),
        ancestry=("ami-00000001", "ami-00000002"),
        part_size=512,
    )
    keys = keys_of(bundle, second)
    migrated = migrate.migrate(bundle.manifest, keys)
    assert objections(migrated) == ()
    assert verify_signature(migrated, keys.private_key.public_key())
    assert opens(migrated, second) == (bundle.key, bundle.iv.ljust(32, "0"))
    with pytest.raises(BuilderError):
        opens(migrated, first)
    before, after = read_manifest(bundle.plain_manifest), read_manifest(migrated)
    assert after == replace(
        before,
        version="2007-10-10",
        account="123456789012",
        block_device_mapping=tuple(sorted(before.block_device_mapping)),
        ec2_encrypted_key=after.ec2_encrypted_key,
        ec2_encrypted_iv=after.ec2_encrypted_iv,
        signature=after.signature,
    )
    assert (after.architecture, after.type) == ("i386" if writer.version == "3" else "x86_64", "machine")
    assert bundle_cipher.unwrap_session(after, keys.private_key) == bundle_cipher.unwrap_session(
        before, keys.private_key
    )


def test_kernel_and_ramdisk_change_when_they_are_given(pairs: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, pairs[0] / "cert.pem", ramdisk_id="ari-11111111")
    keys = keys_of(bundle, pairs[1])

    def said(**given: str) -> tuple[str, str]:
        found = read_manifest(migrate.migrate(bundle.manifest, keys, **given))
        return found.kernel_id, found.ramdisk_id

    assert said() == ("aki-919dcaf8", "ari-11111111")
    assert said(kernel_id="aki-22222222") == ("aki-22222222", "ari-11111111")
    assert said(kernel_id="aki-22222222", ramdisk_id="") == ("aki-22222222", "")


@pytest.mark.parametrize("writer", [each for each in WRITERS if not each.signed], ids=str)
def test_an_unsigned_manifest_is_refused(writer: Writer, pairs: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, pairs[0] / "cert.pem", writer=writer)
    with pytest.raises(BuilderError, match="its signature is not that of your certificate"):
        migrate.migrate(bundle.manifest, keys_of(bundle, pairs[1]))


def test_somebody_elses_or_a_changed_manifest_is_refused(pairs: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, pairs[0] / "cert.pem")
    other = Keys(
        private_key=bundle_cipher.load_private_key((pairs[1] / "pk.pem").read_bytes()),
        ec2=bundle_cipher.load_public_key((pairs[1] / "cert.pem").read_bytes()),
    )
    with pytest.raises(BuilderError, match="its signature is not that of your certificate"):
        migrate.migrate(bundle.manifest, other)
    with pytest.raises(BuilderError, match="its signature is not that of your certificate"):
        migrate.migrate(bundle.manifest.replace(b"aki-919dcaf8", b"aki-919dcaf9"), keys_of(bundle, pairs[1]))


def test_the_old_manifest_is_kept_and_never_overwritten(tmp_path: Path) -> None:
    manifest = tmp_path / "web.manifest.xml"
    manifest.write_bytes(b"old")
    manifest.chmod(0o640)
    assert migrate.migrate_file(manifest, b"new") == tmp_path / "web.manifest.xml.bak"
    assert (manifest.read_bytes(), manifest.stat().st_mode & 0o777) == (b"new", 0o640)
    with pytest.raises(BuilderError, match=r"bak exists already, and is not overwritten"):
        migrate.migrate_file(manifest, b"newer")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "web.manifest.xml": b"new",
        "web.manifest.xml.bak": b"old",
    }


def test_nothing_is_left_when_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "web.manifest.xml"
    manifest.write_bytes(b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        migrate.migrate_file(manifest, b"new")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"web.manifest.xml": b"old"}


def test_nothing_is_left_when_the_old_one_cannot_be_kept(tmp_path: Path) -> None:
    manifest = tmp_path / "web.manifest.xml"
    manifest.write_bytes(b"old" * 1000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            migrate.migrate_file(manifest, b"new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"web.manifest.xml": b"old" * 1000}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("ami-919dcaf8", "kernel"),
        ("ari-919dcaf8", "kernel"),
        ("aki-919dcaf8", "ramdisk"),
        ("aki-919dcaf", "kernel"),
        ("aki-919dcaf8<", "kernel"),
        ("", "kernel"),
    ],
)
def test_ids_of_another_kind(given: str, kind: str) -> None:
    with pytest.raises(RecipeError, match=f"is not the id of a {kind} image"):
        migrate.check_id(given, kind)


def image(image_id: str, location: str, owner: str = "137112412989") -> dict[str, str]:
    return {"ImageId": image_id, "ImageType": "kernel", "OwnerId": owner, "ImageLocation": location}


NAME = "pv-grub-hd0_1.04-x86_64.gz.manifest.xml"
HERE = image("aki-52a34525", f"ec2-public-images-eu-west-1/{NAME}")
THERE = image("aki-919dcaf8", f"ec2-public-images-us-east-1/{NAME}")


class Region:
    """A client that is told what it will answer."""

    def __init__(self) -> None:
        self.client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="no", aws_secret_access_key="body")
        self.stub = Stubber(self.client)
        self.stub.activate()

    def has(self, *images: dict[str, str]) -> "Region":
        self.stub.add_response("describe_images", {"Images": list(images)})
        return self

    def lacks(self) -> "Region":
        self.stub.add_client_error("describe_images", "InvalidAMIID.NotFound")
        return self


def test_a_kernel_that_the_region_has_stays() -> None:
    def regions() -> Iterator[tuple[str, Any]]:
        raise AssertionError("no other region is asked")

    assert migrate.counterpart("aki-919dcaf8", Region().has(THERE).client, regions) == "aki-919dcaf8"


def test_a_kernel_is_found_by_owner_kind_and_location() -> None:
    target = Region().lacks().has(image("aki-00000001", f"x/other/{NAME}"), HERE)
    others = [("us-west-1", Region().lacks().client), ("us-east-1", Region().has(THERE).client)]
    assert migrate.counterpart("aki-919dcaf8", target.client, lambda: others) == "aki-52a34525"
    target.stub.assert_no_pending_responses()


def test_a_kernel_without_counterpart() -> None:
    with pytest.raises(RegionError, match="aki-919dcaf8 is in none of the regions that you can use") as error:
        migrate.counterpart("aki-919dcaf8", Region().lacks().client, lambda: [("us-west-1", Region().lacks().client)])
    assert error.value.hint == "name one with --kernel or --ramdisk, or keep it with --no-mapping"
    with pytest.raises(RegionError, match=f"aki-919dcaf8 of us-east-1, {NAME} of 137112412989, is not in the target"):
        migrate.counterpart(
            "aki-919dcaf8", Region().lacks().has().client, lambda: [("us-east-1", Region().has(THERE).client)]
        )


def test_an_old_manifest_keeps_its_meaning_through_two_migrations(pairs: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, pairs[0] / "cert.pem", writer=VERSION_3)
    there = migrate.migrate(bundle.manifest, keys_of(bundle, pairs[1]))
    back = migrate.migrate(there, keys_of(bundle, pairs[0]))
    assert opens(back, pairs[0]) == (bundle.key, bundle.iv)
    assert read_manifest(back).parts == read_manifest(bundle.manifest).parts


def test_a_manifest_cut_short_is_refused(pairs: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, pairs[0] / "cert.pem", writer=AMI_TOOLS)
    with pytest.raises(BuilderError):
        migrate.migrate(bundle.manifest[:-30], keys_of(bundle, pairs[1]))
