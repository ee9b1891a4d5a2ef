import base64
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from builder.cloud import session
from builder.errors import RegionError
from builder.formats.bundle_manifest import BundleManifest, Part, format_manifest
from builder.stages.account import refuse_other_account
from builder.stages.contract import Input
from builder.stages.upload import run as stage
from builder.stages.upload.spec import UploadSpec
from tests.support.stubs import stubbed_client, surroundings
from tests.support.workshop import stage_context

SPEC = UploadSpec(
    partition="aws",
    account="123456789012",
    region="us-east-1",
    endpoint="aws",
    bucket="images",
    prefix="web",
    acl="aws-exec-read",
)
OURS = {"Bucket": "images", "ExpectedBucketOwner": "123456789012"}
PREFIX = "web/cccccccccccc"
PARTS = {"web.part.0": b"a" * 300, "web.part.1": b"b" * 200}


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for make in stubbed_client(tmp_path):
        client, stub = make("s3", "us-east-1")
        monkeypatch.setattr(session, "client", lambda *asked, client=client, **also: client)
        monkeypatch.setattr(session, "POOL", 1)  # the stub answers in one order only
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def bundle(tmp_path: Path) -> Input:
    path = tmp_path / "bundle"
    path.mkdir()
    for name, data in PARTS.items():
        (path / name).write_bytes(data)
    manifest = BundleManifest(
        name="web",
        account="123456789012",
        architecture="x86_64",
        digest="00" * 20,
        size=1,
        bundled_size=500,
        ec2_encrypted_key="00",
        user_encrypted_key="00",
        ec2_encrypted_iv="00",
        user_encrypted_iv="00",
        parts=tuple(Part(filename=n, sha1=hashlib.sha1(d).hexdigest()) for n, d in PARTS.items()),
    )
    (path / "web.manifest.xml").write_bytes(format_manifest(manifest, lambda signed: b"\0"))
    return Input(name="bundle", path=path, result={"manifest": "web.manifest.xml", "ciphertext_sha256": "c" * 64})


def test_credentials_of_another_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_aws = dataclasses.replace(surroundings(tmp_path), endpoint_url=None)
    for make in stubbed_client(tmp_path):
        client, stub = make("sts")
        monkeypatch.setattr(session, "client", lambda *asked, client=client, **also: client)
        for account in ("123456789012", "210987654321"):
            stub.add_response("get_caller_identity", {"Account": account}, {})
        refuse_other_account(SPEC.account, SPEC.region, of_aws, "bundle")
        with pytest.raises(RegionError) as caught:
            refuse_other_account(SPEC.account, SPEC.region, of_aws, "bundle")
    assert caught.value.brief == "your credentials are of the account 210987654321, and the bundle is for 123456789012"


def sent(stub: Stubber, name: str, data: bytes) -> None:
    request = {
        **OURS,
        "Key": f"{PREFIX}/{name}",
        "Body": ANY,
        "ACL": "aws-exec-read",
        "IfNoneMatch": "*",
        "ContentType": "application/xml" if name.endswith(".xml") else "application/octet-stream",
        "ChecksumSHA1": base64.b64encode(hashlib.sha1(data).digest()).decode(),
    }
    stub.add_response("put_object", {}, request)


def test_a_bucket_is_made_and_the_bundle_sent_below_a_prefix_of_its_own(
    s3: Stubber, bundle: Input, tmp_path: Path
) -> None:
    s3.add_client_error("head_bucket", "404", http_status_code=404, expected_params=OURS)
    s3.add_response("create_bucket", {}, {"Bucket": "images", "ObjectOwnership": "ObjectWriter"})
    s3.add_response("list_objects_v2", {"IsTruncated": False}, {**OURS, "Prefix": f"{PREFIX}/"})
    s3.add_response("get_bucket_encryption", {}, OURS)
    s3.add_response("get_bucket_ownership_controls", {}, OURS)
    manifest = (bundle.path / "web.manifest.xml").read_bytes()
    for name, data in PARTS.items():
        sent(s3, name, data)
    sent(s3, "web.manifest.xml", manifest)
    notes: list[str] = []
    told: list[tuple[str, int, int]] = []
    context = stage_context(tmp_path, bundle, note=notes.append, progress=lambda *args: told.append(args))
    total = 500 + len(manifest)
    assert stage.run(SPEC, context) == {
        "bucket": "images",
        "prefix": PREFIX,
        "manifest": f"{PREFIX}/web.manifest.xml",
        "location": f"images/{PREFIX}/web.manifest.xml",
        "sent": total,
        "kept": 0,
    }
    assert notes == ["made the bucket images for bundles of 123456789012 in us-east-1"]
    assert [(what, end) for what, _, end in told] == [("upload", total)] * 4
    assert told[-1][1] == total


def test_nothing_else_may_lie_below_its_prefix(s3: Stubber, bundle: Input, tmp_path: Path) -> None:
    s3.add_response("head_bucket", {"BucketRegion": "us-east-1"}, OURS)
    contents = [{"Key": f"{PREFIX}/{name}", "Size": 300} for name in ("web.part.0", "deep/other.part.0")]
    s3.add_response("list_objects_v2", {"Contents": contents}, {**OURS, "Prefix": f"{PREFIX}/"})
    with pytest.raises(RegionError, match="holds 1 objects that are not of this bundle") as caught:
        stage.run(SPEC, stage_context(tmp_path, bundle))
    assert caught.value.detail == f"{PREFIX}/deep/other.part.0"
