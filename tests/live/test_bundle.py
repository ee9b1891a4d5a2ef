"""A bundle against AWS itself: made, judged, uploaded, registered, read back, and taken away again.

Never run unless asked for. It wants an account that may make AMIs, a region that has instance store images, and a
bucket there (made if it is not there; only objects below one prefix of ours are touched, and removed at the end):

    AMI_FACTORY_LIVE_REGION=us-east-1 AMI_FACTORY_LIVE_BUCKET=my-bucket .venv/bin/python -m pytest -m live tests/live

Credentials are the usual ones of the AWS tools. A few megabytes are stored for a minute, and no instance is started.
With the region `local` it runs against the local region: to try the test, not EC2.
"""

import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from builder.cloud import session
from builder.formats.bundle_cipher import load_private_key, sign
from builder.formats.manifest_reader import read_manifest, signed_bytes
from builder.region import control
from builder.region.identity import ACCOUNT
from builder.stages.contract import Surroundings
from tests.support.bundles import make_user

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
ENVIRONMENT = dict(os.environ)
"""As it was when the tests were collected: tests/conftest.py takes credentials away from every test."""
KERNELS = {
    "local": "aki-919dcaf8",
    "us-east-1": "aki-919dcaf8",
    "us-west-2": "aki-fc8f11cc",
    "eu-west-1": "aki-52a34525",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where all of it happens."""

    region: str
    number: str
    bucket: str
    prefix: str
    environment: Mapping[str, str]
    ec2: Any
    s3: Any

    @property
    def place(self) -> str:
        return f"{self.bucket}/{self.prefix}"

    def run(self, line: str, *, code: int = 0) -> str:
        """A command of ours, which must end with that code; its stdout."""
        words = shlex.split(line)
        command = [ROOT / ".venv/bin" / words[0], *words[1:], "--region", self.region]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment, timeout=600)
        assert done.returncode == code, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    try:
        region, bucket = ENVIRONMENT["AMI_FACTORY_LIVE_REGION"], ENVIRONMENT["AMI_FACTORY_LIVE_BUCKET"]
    except KeyError as error:
        pytest.skip(f"{error.args[0]} says which AWS region and bucket to use")
    state = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patched:
        for name in set(os.environ) | set(ENVIRONMENT):
            patched.delenv(name, raising=False)
            if name in ENVIRONMENT:
                patched.setenv(name, ENVIRONMENT[name])
        endpoint = control.start(state / "ami-factory/region").endpoint_url if region == "local" else None
        reached = Surroundings(state=state, cache=state, trees=state, endpoint_url=endpoint)
        clients = {name: session.client(name, reached, region) for name in ("ec2", "s3", "sts")}
        number = ACCOUNT if region == "local" else clients["sts"].get_caller_identity()["Account"]
        made = Account(
            region=region,
            number=number,
            bucket=bucket,
            prefix=f"ami-factory-test/{secrets.token_hex(8)}",
            environment={**ENVIRONMENT, "XDG_STATE_HOME": str(state), "XDG_CACHE_HOME": str(state / "cache")},
            ec2=clients["ec2"],
            s3=clients["s3"],
        )
        try:
            yield made
        finally:
            _clear(made)
            if region == "local":
                control.stop(state / "ami-factory/region")


def _clear(account: Account) -> None:
    """Nothing of ours stays: no AMI that names our prefix, and no object below it."""
    for image in account.ec2.describe_images(Owners=["self"])["Images"]:
        if image["ImageLocation"].startswith(f"{account.place}/"):
            account.ec2.deregister_image(ImageId=image["ImageId"])
    with suppress(account.s3.exceptions.NoSuchBucket):
        pages = account.s3.get_paginator("list_objects_v2").paginate(Bucket=account.bucket, Prefix=account.prefix)
        for page in pages:
            for each in page.get("Contents", ()):
                account.s3.delete_object(Bucket=account.bucket, Key=each["Key"])


@pytest.fixture(scope="module")
def bundle(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image with some weight to it, bundled; the manifest. Two parts, image and keys beside them."""
    work = tmp_path_factory.mktemp("bundle")
    key, certificate = make_user(work)
    (work / "tree").mkdir()
    (work / "tree/noise").write_bytes(os.urandom(12 * 2**20))
    image = work / "live.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext3", "-d", work / "tree", image, "32M"], check=True)
    account.run(
        f"ec2-bundle-image -i {image} -d {work} -u {account.number} -c {certificate} -k {key} -r x86_64 "
        f"--kernel {KERNELS[account.region]}"
    )
    return work / "live.img.manifest.xml"


def test_from_image_to_ami_and_back(account: Account, bundle: Path, tmp_path: Path) -> None:
    """RegisterImage takes what verify lets through; what is read back is the image."""
    location = f"{account.place}/{bundle.name}"
    account.run(f"ami-factory verify {bundle} --deep")
    account.run(f"ec2-upload-bundle -b {account.place} -m {bundle}")
    account.run(f"ami-factory verify s3://{location}")
    image_id = account.run(f"ec2-register {location} -n ami-factory-test-{secrets.token_hex(8)}").split()[-1]

    account.ec2.get_waiter("image_available").wait(ImageIds=[image_id])
    described = account.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert {name: described[name] for name in ("ImageLocation", "Architecture", "RootDeviceType", "KernelId")} == {
        "ImageLocation": location,
        "Architecture": "x86_64",
        "RootDeviceType": "instance-store",
        "KernelId": KERNELS[account.region],
    }

    account.run(f"ec2-download-bundle -b {account.place} -m {bundle.name} -d {tmp_path}")
    account.run(f"ec2-unbundle -m {tmp_path / bundle.name} -k {bundle.parent / 'pk.pem'} -s {tmp_path} -d {tmp_path}")
    assert (tmp_path / "live.img").read_bytes() == (bundle.parent / "live.img").read_bytes()

    account.ec2.deregister_image(ImageId=image_id)
    account.run(f"ec2-delete-bundle -b {account.place} -m {bundle} -y")
    assert "Contents" not in account.s3.list_objects_v2(Bucket=account.bucket, Prefix=account.prefix)


def spoiled(data: bytes, finding: str, key: Path) -> bytes:
    """The manifest with one thing wrong."""
    number = read_manifest(data).account
    dashed = f"{number[:4]}-{number[4:8]}-{number[8:]}"
    mapping = b"<mapping><virtual>ami</virtual><device>xvdal</device></mapping>"
    edits = {
        "declaration": (b"<?xml version='1.0'?>", b""),
        "order": (b"<type>machine</type>", b""),
        "account": (number.encode(), dashed.encode()),
        "device-name": (b"<kernel_id>", b"<block_device_mapping>" + mapping + b"</block_device_mapping><kernel_id>"),
    }
    changed = data.replace(*edits[finding]) if finding in edits else data
    if finding == "order":
        changed = changed.replace(b"<size>", b"<type>machine</type><size>")
    head, tail = changed.split(b"<signature>")[0], b"</signature></manifest>"
    if finding == "unsigned":
        return head + b"<signature>UNSIGNED" + tail
    signature = sign(signed_bytes(changed), load_private_key(key.read_bytes())).hex().encode()
    return head + b"<signature>" + signature + tail


@pytest.mark.parametrize("finding", ["declaration", "order", "account", "device-name", "unsigned"])
def test_what_verify_calls_an_error_is_refused(finding: str, account: Account, bundle: Path, tmp_path: Path) -> None:
    data = spoiled(bundle.read_bytes(), finding, bundle.parent / "pk.pem")
    path = tmp_path / bundle.name
    path.write_bytes(data)
    assert f"({finding})" in account.run(f"ami-factory verify {path}", code=1)

    key = f"{account.prefix}/{finding}/{bundle.name}"
    account.run(f"ec2-upload-bundle -b {account.place}/{finding} -m {bundle}")
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=data, ACL="aws-exec-read")
    with pytest.raises(ClientError) as refused:
        account.ec2.register_image(
            Name=f"ami-factory-test-{secrets.token_hex(8)}", ImageLocation=f"{account.bucket}/{key}"
        )
    assert refused.value.response["Error"]["Code"] == "InvalidManifest"
