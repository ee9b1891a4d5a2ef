"""Bundles of other tools are registered, or refused for the reason that EC2 refused them."""

import re
import secrets
from pathlib import Path
from typing import Any

import pytest

from builder.formats.manifest_grammar import REFUSALS
from builder.region.control import Status
from builder.region.identity import identity
from tests.support.bundles import EUCA2OOLS, WRITERS, TestBundle, Writer, make_bundle
from tests.support.regions import refused


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def register(ec2: Any, s3: Any, bucket: str, bundle: TestBundle) -> str:
    for name, content in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=f"b/{name}", Body=content, ACL="aws-exec-read")
    location, name = f"{bucket}/b/{bundle.manifest_name}", f"image-{secrets.token_hex(6)}"
    return str(ec2.register_image(Name=name, ImageLocation=location)["ImageId"])


@pytest.mark.parametrize("writer", WRITERS, ids=str)
def test_every_writer(ec2: Any, s3: Any, bucket: str, region: Status, keys: Path, writer: Writer) -> None:
    bundle = make_bundle(keys, identity(region.directory).certificate, writer=writer)
    if writer.encrypted:
        with refused("InvalidManifest", "Invalid AMI manifest: it is encrypted"):
            register(ec2, s3, bucket, bundle)
    elif writer.objected:
        with refused("InvalidManifest", REFUSALS[writer.objected[0]].message):
            register(ec2, s3, bucket, bundle)
    else:
        image_id = register(ec2, s3, bucket, bundle)
        (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
        assert (image["Architecture"], image["KernelId"]) == ("x86_64", "aki-919dcaf8")


def test_an_empty_signature_is_an_internal_error(ec2: Any, s3: Any, bucket: str, region: Status, keys: Path) -> None:
    """EC2 said so to euca2ools: HTTP 500, not a refusal."""
    bundle = make_bundle(keys, identity(region.directory).certificate, writer=EUCA2OOLS)
    key = f"b/{bundle.manifest_name}"
    register(ec2, s3, bucket, bundle)
    unsigned = re.sub(rb"<signature>.*</signature>", b"<signature/>", bundle.manifest)
    s3.put_object(Bucket=bucket, Key=key, Body=unsigned, ACL="aws-exec-read")
    with refused("InternalError"):
        ec2.register_image(Name=f"image-{secrets.token_hex(6)}", ImageLocation=f"{bucket}/{key}")
