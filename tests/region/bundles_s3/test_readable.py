"""Whether EC2 may read what is stored: told before a byte is sent, and registered exactly then."""

import hashlib
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.bundles import send
from builder.cloud import buckets, s3
from builder.cloud.s3 import Bucket
from builder.errors import RegionError
from tests.support.bundles import TestBundle
from tests.support.moved import (
    open_to_public,
    under,
)


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
        open_to_public(images)
        sent = send.upload(local, images, "web", acl="public-read")
        ec2.register_image(Name=f"public-{secrets.token_hex(4)}", ImageLocation=sent.location)

    def test_a_bucket_is_made_once(self, images: Bucket) -> None:
        fresh = replace(images, name=f"test.{secrets.token_hex(8)}")
        assert (buckets.ensure_bucket(fresh), buckets.ensure_bucket(fresh)) == (True, False)
        with pytest.raises(RegionError, match="is not yours to use"):
            buckets.ensure_bucket(replace(fresh, account="210987654321"))
        assert buckets.delete_empty(fresh)
