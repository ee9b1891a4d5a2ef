"""Bundle, upload and register against the local region, looked at by an independent client."""

import multiprocessing
import os
import random
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builder.catalog.certificates import COMMERCIAL
from builder.cloud import ec2, session
from builder.errors import RegionError
from builder.formats import bundle_cipher
from builder.formats.manifest_reader import read_manifest
from builder.region.control import Status
from builder.region.identity import RegionIdentity, identity
from builder.stages.bundle import run as bundle_stage
from builder.stages.contract import Input, StageContext
from builder.stages.register import run as register_stage
from builder.stages.register.spec import RegisterSpec
from builder.stages.upload import run as upload_stage
from builder.stages.upload.spec import UploadSpec
from tests.support.regions import client
from tests.support.workshop import Workshop, image_input, workshop

EXEC_READ = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"  # "za-team": EC2's own reader
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, kw_only=True)
class Here:
    """A region that runs, and a finished bundle made for it."""

    endpoint: str
    identity: RegionIdentity
    shop: Workshop
    image: Input
    bundle: Input

    def context(self, path: Path, *inputs: Input, **more: Any) -> StageContext:
        return replace(self.shop, path=path).context(*inputs, endpoint_url=self.endpoint, **more)

    def client(self, service: str) -> Any:
        """A client that owes nothing to ours."""
        return client(service, self.endpoint)

    def upload_spec(self, bucket: str, **changes: Any) -> UploadSpec:
        values = {"partition": "aws", "account": self.identity.account, "region": "local", "endpoint": "local-x"}
        return UploadSpec(**{**values, "bucket": bucket, "prefix": "web", "acl": "aws-exec-read", **changes})

    def register_spec(self, name: str) -> RegisterSpec:
        return RegisterSpec(
            partition="aws",
            account=self.identity.account,
            region="local",
            endpoint="local-x",
            name=name,
            description="A web server",
            architecture="x86_64",
            virtualization="paravirtual",
            kernel_id="aki-919dcaf8",
            ramdisk_id="",
            root_device_name="/dev/sda1",
            block_device_mappings=(("/dev/sda2", "ephemeral0"),),
            tags=(("team", "blue"),),
        )

    def register(self, path: Path, upload: dict[str, Any], name: str, key: str) -> Any:
        given = Input(name="upload", path=path, result=upload)
        return register_stage.run(self.register_spec(name), self.context(path, given, key=key))


@pytest.fixture(scope="module")
def here(region: Status, tmp_path_factory: pytest.TempPathFactory) -> Here:
    path = tmp_path_factory.mktemp("publish")
    own = identity(region.directory)
    shop = replace(workshop(path), ec2_certificate=own.certificate, ec2_key=own.private_key)
    noise = random.Random(9).randbytes(25 << 20)
    image = image_input(path / "image", (1 << 20, noise), size=64 << 20)
    result = bundle_stage.run(shop.spec(account=own.account), shop.context(image, output="bundle"))
    return Here(
        endpoint=region.endpoint_url,
        identity=own,
        shop=shop,
        image=image,
        bundle=Input(name="bundle", path=path / "bundle", result=result),
    )


def upload(here: Here, path: Path, bucket: str, **changes: Any) -> dict[str, Any]:
    return dict(upload_stage.run(here.upload_spec(bucket, **changes), here.context(path, here.bundle)))


def test_from_an_image_to_an_ami(here: Here, tmp_path: Path) -> None:
    sent = upload(here, tmp_path, "publish")
    result = here.register(tmp_path, sent, "web-1", "1" * 64)

    s3, manifest = here.client("s3"), here.bundle.path / here.bundle.result["manifest"]
    digest = here.bundle.result["ciphertext_sha256"][:12]
    assert sent["location"] == f"publish/web/{digest}/{manifest.name}"
    names = [part.filename for part in read_manifest(manifest.read_bytes()).parts]
    keys = {each["Key"] for each in s3.list_objects_v2(Bucket="publish")["Contents"]}
    assert keys == {f"web/{digest}/{name}" for name in (*names, manifest.name)}
    for key in keys:
        grants = s3.get_object_acl(Bucket="publish", Key=key)["Grants"]
        assert (EXEC_READ, "READ") in {(grant["Grantee"].get("ID"), grant["Permission"]) for grant in grants}

    (image,) = here.client("ec2").describe_images(ImageIds=[result["image_id"]])["Images"]
    seen = {
        name: image.get(name)
        for name in (
            "Name", "Description", "Architecture", "VirtualizationType", "KernelId", "RootDeviceName", "RootDeviceType",
            "ImageLocation", "OwnerId", "State", "ImageType",
        )
    }  # fmt: skip
    assert seen == {
        "Name": "web-1",
        "Description": "A web server",
        "Architecture": "x86_64",
        "VirtualizationType": "paravirtual",
        "KernelId": "aki-919dcaf8",
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "instance-store",
        "ImageLocation": sent["location"],
        "OwnerId": here.identity.account,
        "State": "available",
        "ImageType": "machine",
    }
    assert {(tag["Key"], tag["Value"]) for tag in image["Tags"]} == {
        ("Name", "web-1"),
        ("ami-factory:key", "1" * 64),
        ("team", "blue"),
    }
    assert ("/dev/sda2", "ephemeral0") in {
        (each["DeviceName"], each.get("VirtualName")) for each in image["BlockDeviceMappings"]
    }


def test_what_is_in_s3_gives_the_image_back(here: Here, tmp_path: Path) -> None:
    """As EC2 would do it at launch: its own private key, then public tools."""
    sent = upload(here, tmp_path, "give-back")
    s3 = here.client("s3")
    manifest = read_manifest(s3.get_object(Bucket="give-back", Key=sent["manifest"])["Body"].read())
    ec2_key = bundle_cipher.load_private_key(here.identity.private_key.read_bytes())
    key, iv = (bundle_cipher.unwrap(each, ec2_key) for each in (manifest.ec2_encrypted_key, manifest.ec2_encrypted_iv))
    with (tmp_path / "parts").open("wb") as file:
        for part in manifest.parts:
            file.write(s3.get_object(Bucket="give-back", Key=f"{sent['prefix']}/{part.filename}")["Body"].read())
    script = (
        'set -eo pipefail; openssl enc -d -aes-128-cbc -K "$1" -iv "$2" -in parts'
        ' | gunzip | tar --extract --to-stdout | cmp - "$3"'
    )
    command = ["bash", "-c", script, "undo", key.hex(), iv.hex(), here.image.path / "disk.raw"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_killed_and_run_again(here: Here, tmp_path: Path) -> None:
    """SIGKILL after the first part: no manifest, nothing half there; the next run sends the rest."""

    def killed() -> None:
        def stop(what: str, done: int, total: int, unit: str = "bytes") -> None:
            if done:
                os.kill(os.getpid(), signal.SIGKILL)

        context = replace(here.context(tmp_path, here.bundle), progress=stop)
        upload_stage.run(here.upload_spec("killed"), context)

    child = FORK.Process(target=killed)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    s3 = here.client("s3")
    left = {each["Key"]: each["Size"] for each in s3.list_objects_v2(Bucket="killed").get("Contents", ())}
    sizes = {each.name: each.stat().st_size for each in here.bundle.path.iterdir()}
    assert left
    assert all(size == sizes[Path(key).name] for key, size in left.items())
    assert not any(key.endswith(".manifest.xml") for key in left)
    sent = upload(here, tmp_path, "killed")
    assert (sent["kept"] >= sum(left.values()), sent["kept"] + sent["sent"]) == (True, sum(sizes.values()))
    assert here.register(tmp_path, sent, "killed-1", "2" * 64)["found"] is False


def test_only_what_is_missing_or_wrong_is_sent(here: Here, tmp_path: Path) -> None:
    first = upload(here, tmp_path, "repair")
    s3 = here.client("s3")
    lost, bent = sorted(
        each["Key"] for each in s3.list_objects_v2(Bucket="repair")["Contents"] if "part" in each["Key"]
    )[:2]
    size = s3.head_object(Bucket="repair", Key=lost)["ContentLength"]
    s3.delete_object(Bucket="repair", Key=lost)
    s3.put_object(Bucket="repair", Key=bent, Body=bytes(size))
    again = upload(here, tmp_path, "repair")
    manifest = (here.bundle.path / here.bundle.result["manifest"]).stat().st_size
    assert again["sent"] == 2 * size + manifest
    assert upload(here, tmp_path, "repair") == {**first, "sent": 0, "kept": first["sent"]}


def test_deregistered_by_hand(here: Here, tmp_path: Path) -> None:
    sent = upload(here, tmp_path, "by-hand")
    first = here.register(tmp_path, sent, "by-hand", "3" * 64)
    assert here.register(tmp_path, sent, "by-hand", "3" * 64) == {**first, "found": True}
    ours = session.client("ec2", here.context(tmp_path).surroundings, "local")
    assert ec2.images_by_key(ours, ["3" * 64, "4" * 64])["3" * 64].id == first["image_id"]
    here.client("ec2").deregister_image(ImageId=first["image_id"])
    assert ec2.images_by_key(ours, ["3" * 64]) == {}
    second = here.register(tmp_path, sent, "by-hand", "3" * 64)
    assert (second["found"], second["image_id"] != first["image_id"]) == (False, True)


def test_two_builders_at_once_make_one_ami(here: Here, tmp_path: Path) -> None:
    sent = upload(here, tmp_path, "race")
    told = FORK.SimpleQueue()
    barrier = FORK.Barrier(4)

    def build() -> None:
        barrier.wait(30)
        told.put(here.register(tmp_path, sent, "race", "5" * 64)["image_id"])

    builders = [FORK.Process(target=build) for _ in range(4)]
    for each in builders:
        each.start()
    for each in builders:
        each.join(60)
    assert [each.exitcode for each in builders] == [0] * 4
    images = here.client("ec2").describe_images(Filters=[{"Name": "tag:ami-factory:key", "Values": ["5" * 64]}])[
        "Images"
    ]
    assert {told.get() for _ in builders} == {images[0]["ImageId"]}
    assert len(images) == 1


def test_a_name_taken_by_another_key(here: Here, tmp_path: Path) -> None:
    sent = upload(here, tmp_path, "taken")
    first = here.register(tmp_path, sent, "taken", "6" * 64)
    with pytest.raises(RegionError, match=f'the name "taken" is taken by {first["image_id"]}') as caught:
        here.register(tmp_path, sent, "taken", "7" * 64)
    assert "for the key 666666666666" in caught.value.detail


def test_a_bundle_for_another_regions_certificate(here: Here, tmp_path: Path) -> None:
    """EC2 would register it and never start it; the local region says so at once."""
    spec = here.shop.spec(account=here.identity.account, ec2_certificate=COMMERCIAL.sha256)
    result = bundle_stage.run(spec, here.context(tmp_path, here.image, output="bundle"))
    bundle = Input(name="bundle", path=tmp_path / "bundle", result=result)
    sent = upload_stage.run(here.upload_spec("other-certificate"), here.context(tmp_path, bundle))
    with pytest.raises(RegionError, match="RegisterImage was refused: InvalidManifest"):
        here.register(tmp_path, dict(sent), "other-certificate", "8" * 64)


def test_a_bucket_that_allows_no_acls(here: Here, tmp_path: Path) -> None:
    here.client("s3").create_bucket(Bucket="modern", ObjectOwnership="BucketOwnerEnforced")
    with pytest.raises(RegionError, match="the bucket modern does not allow ACLs"):
        upload(here, tmp_path, "modern")
    assert "Contents" not in here.client("s3").list_objects_v2(Bucket="modern")


def test_two_bundles_under_one_prefix(here: Here, tmp_path: Path) -> None:
    sent = upload(here, tmp_path, "mixed")
    here.client("s3").put_object(Bucket="mixed", Key=f"{sent['prefix']}/other.part.0", Body=b"x")
    with pytest.raises(RegionError, match="holds 1 objects that are not of this bundle"):
        upload(here, tmp_path, "mixed")
