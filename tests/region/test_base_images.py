"""Bundles and AMIs as the base: what is brought here, by real calls to a local region, is the image bit for bit."""

import hashlib
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, RegionError
from builder.region.control import Status
from builder.stages.base import remote, resolve
from builder.stages.base.spec import PinSpec
from builder.stages.contract import StageContext
from tests.support.bundles import HOLED, TestBundle, make_bundle
from tests.support.images import context
from tests.support.regions import client
from tests.support.snapshots import BLOCK, block, snapshot

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def bundle(region: Status, tmp_path_factory: pytest.TempPathFactory) -> TestBundle:
    certificate = region.directory / "identity/certificate.pem"
    return make_bundle(tmp_path_factory.mktemp("bundle"), certificate, content=HOLED, part_size=4096)


@pytest.fixture
def place(tmp_path: Path, bundle: TestBundle, region: Status) -> StageContext:
    return context(tmp_path / "place", endpoint_url=region.endpoint_url, secrets={"private_key": str(bundle.user_key)})


def pinned(location: str, place: StageContext, *, sha256: str = "") -> dict[str, Any]:
    asked = PinSpec(location=location, sha256=sha256, architecture="x86_64", region="local")
    return dict(resolve.run(asked, place))


def uploaded(s3: Any, bucket: str, bundle: TestBundle) -> str:
    """The bundle in S3, where EC2 may read it; `bucket/key` of its manifest."""
    for name, data in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=f"web/1/{name}", Body=data, ACL="aws-exec-read")
    return f"{bucket}/web/1/{bundle.manifest_name}"


def test_a_bundle_in_a_directory(place: StageContext, bundle: TestBundle, tmp_path: Path) -> None:
    for name, data in bundle.files().items():
        (tmp_path / name).write_bytes(data)
    manifest = tmp_path / bundle.manifest_name
    found = pinned(str(manifest), place)
    digest = hashlib.sha256(bundle.manifest).hexdigest()
    assert found == {"kind": "bundle", "format": "raw", "pin": digest, "region": "", "location": ""}
    assert remote.image_of_bundle(str(manifest), "", digest, place).read_bytes() == HOLED


def test_a_bundle_in_s3(place: StageContext, bundle: TestBundle, s3: Any, bucket: str) -> None:
    location = f"s3://{uploaded(s3, bucket, bundle)}"
    digest = hashlib.sha256(bundle.manifest).hexdigest()
    found = pinned(location, place, sha256=digest)
    assert found == {"kind": "bundle", "format": "raw", "pin": digest, "region": "local", "location": location}
    assert remote.image_of_bundle(location, "local", digest, place).read_bytes() == HOLED


def test_an_ami_of_the_instance_store(place: StageContext, bundle: TestBundle, s3: Any, ec2: Any, bucket: str) -> None:
    location = uploaded(s3, bucket, bundle)
    image = ec2.register_image(Name=f"image-{secrets.token_hex(6)}", ImageLocation=location)["ImageId"]
    found = pinned(image, place)
    digest = hashlib.sha256(bundle.manifest).hexdigest()
    assert found == {
        "kind": "bundle",
        "format": "raw",
        "pin": digest,
        "region": "local",
        "location": f"s3://{location}",
    }


def test_an_ami_of_ebs(place: StageContext, ec2: Any, region: Status) -> None:
    made = snapshot(client("ebs", region.endpoint_url), {0: block(1), 7: block(2)})
    image = ec2.register_image(
        Name=f"image-{secrets.token_hex(6)}",
        Architecture="x86_64",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": made, "VolumeType": "gp3"}}],
    )["ImageId"]
    found = pinned(image, place)
    assert found == {"kind": "snapshot", "format": "raw", "pin": made, "region": "local", "location": made}
    volume = remote.volume_of_snapshot(made, "local", place)
    with volume.open("rb") as file:
        assert file.read(BLOCK) == block(1)
        file.seek(7 * BLOCK)
        assert file.read(BLOCK) == block(2)
    assert volume.stat().st_size == 1 << 30
    subprocess.run(["cmp", "-n", str(6 * BLOCK), "-i", f"{BLOCK}:0", volume, "/dev/zero"], check=True)


def test_what_is_not_there(place: StageContext, s3: Any, bucket: str) -> None:
    with pytest.raises(RegionError, match="there is no AMI ami-0123456789abcdef0 in local"):
        pinned("ami-0123456789abcdef0", place)
    with pytest.raises(BuilderError, match=r"NoSuchKey|not there|no such"):
        pinned(f"s3://{bucket}/nothing.manifest.xml", place)


def test_another_bundle_than_was_locked(place: StageContext, bundle: TestBundle, tmp_path: Path) -> None:
    for name, data in bundle.files().items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(BuilderError, match="is not what the lock says") as raised:
        remote.image_of_bundle(str(tmp_path / bundle.manifest_name), "", "0" * 64, place)
    assert "ami-factory lock --update" in raised.value.hint


def test_a_digest_of_the_recipes_that_is_another(place: StageContext, bundle: TestBundle, tmp_path: Path) -> None:
    for name, data in bundle.files().items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(BuilderError, match=r"is not what base\.sha256 says"):
        pinned(str(tmp_path / bundle.manifest_name), place, sha256="0" * 64)
