"""Images of amazon's in the local region: who registers them, who sees them, who may change them."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT, LOCAL
from builder.cloud import ec2 as cloud
from builder.cloud.session import client as own_client
from builder.region.control import Status
from builder.region.identity import ACCOUNT, identity
from builder.stages.contract import Surroundings
from tests.support.bundles import make_bundle
from tests.support.regions import refused

KEY = "0" * 64


@pytest.fixture
def amazon(region: Status, tmp_path: Path) -> Any:
    """What `region ship` talks with."""
    here = Surroundings(
        state=tmp_path, cache=tmp_path, trees=tmp_path, endpoint_url=region.endpoint_url, profile=AMAZON
    )
    return own_client("ec2", here, LOCAL)


@pytest.fixture
def image_id(region: Status, amazon: Any, s3: Any, bucket: str, tmp_path: Path) -> Iterator[str]:
    """An image that amazon has registered and shows to nobody yet."""
    bundle = make_bundle(tmp_path, identity(region.directory).certificate, account=AMAZON_ACCOUNT)
    for name, content in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=name, Body=content, ACL="aws-exec-read")
    image_id = amazon.register_image(
        Name=f"web-{secrets.token_hex(4)}",
        ImageLocation=f"{bucket}/{bundle.manifest_name}",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": cloud.KEY_TAG, "Value": KEY}]}],
    )["ImageId"]
    yield image_id
    amazon.deregister_image(ImageId=image_id)


def listed(client: Any, **query: Any) -> list[str]:
    return [each["ImageId"] for each in client.describe_images(**query)["Images"]]


def test_it_is_amazons(amazon: Any, image_id: str) -> None:
    (image,) = amazon.describe_images(Owners=["self"], Filters=[{"Name": "image-type", "Values": ["machine"]}])[
        "Images"
    ]
    assert (image["ImageId"], image["OwnerId"], image["ImageOwnerAlias"], image["Public"]) == (
        image_id,
        AMAZON_ACCOUNT,
        AMAZON,
        False,
    )
    assert cloud.images_by_key(amazon, [KEY])[KEY].id == image_id


def test_nobody_else_knows_of_it_before_it_is_public(amazon: Any, ec2: Any, image_id: str) -> None:
    assert image_id not in listed(ec2)
    with refused("AuthFailure"):
        ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)
    cloud.make_public(amazon, image_id)
    cloud.make_public(amazon, image_id)
    assert image_id in listed(ec2, Owners=[AMAZON])
    assert image_id in listed(ec2, ExecutableUsers=["all"])
    assert image_id not in listed(ec2, Owners=["self"])


def test_it_can_be_changed_by_amazon_alone(amazon: Any, ec2: Any, image_id: str) -> None:
    cloud.make_public(amazon, image_id)
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert "Tags" not in image
    with refused("AuthFailure"):
        ec2.deregister_image(ImageId=image_id)
    with refused("AuthFailure"):
        ec2.create_tags(Resources=[image_id], Tags=[{"Key": "a", "Value": "b"}])
    with refused("AuthFailure"):
        ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Remove": [{"Group": "all"}]})
    assert image_id in listed(ec2)


def test_a_bundle_of_another_account_is_refused(region: Status, amazon: Any, s3: Any, bucket: str, work: Path) -> None:
    bundle = make_bundle(work, identity(region.directory).certificate)
    for name, content in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=name, Body=content, ACL="aws-exec-read")
    with refused("InvalidManifest", f"it belongs to user {ACCOUNT}, and {AMAZON_ACCOUNT} registers it"):
        amazon.register_image(Name="x" * 8, ImageLocation=f"{bucket}/{bundle.manifest_name}")


def test_only_the_word_makes_a_caller_amazon(region: Status) -> None:
    def account(key: str) -> str:
        sts = boto3.client(
            "sts",
            region_name="us-east-1",
            endpoint_url=region.endpoint_url,
            aws_access_key_id=key,
            aws_secret_access_key="x",
        )
        return str(sts.get_caller_identity()["Account"])

    assert [account(key) for key in ("amazon", "local", "amazonas", "AMAZON")] == [
        AMAZON_ACCOUNT,
        ACCOUNT,
        ACCOUNT,
        ACCOUNT,
    ]
