import base64
import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from builder.cloud import session
from builder.errors import RegionError
from builder.formats.bundle_manifest import BundleManifest, Part, format_manifest
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
        monkeypatch.setattr(session, "client", lambda *asked, client=client: client)
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


@pytest.fixture
def go(tmp_path: Path, bundle: Input) -> Callable[[], Any]:
    return lambda: stage.run(SPEC, stage_context(tmp_path, bundle))


def test_credentials_of_another_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_aws = dataclasses.replace(surroundings(tmp_path), endpoint_url=None)
    for make in stubbed_client(tmp_path):
        client, stub = make("sts")
        monkeypatch.setattr(session, "client", lambda *asked, client=client: client)
        for account in ("123456789012", "210987654321"):
            stub.add_response("get_caller_identity", {"Account": account}, {})
        stage.refuse_other_account(SPEC, of_aws)
        with pytest.raises(RegionError) as caught:
            stage.refuse_other_account(SPEC, of_aws)
    assert caught.value.brief == "your credentials are of the account 210987654321, and the bundle is for 123456789012"


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha1(data).digest()).decode()


def there(stub: Stubber, *present: tuple[str, int]) -> None:
    """The bucket is there, and these objects under the prefix."""
    stub.add_response("head_bucket", {"BucketRegion": "us-east-1"}, OURS)
    contents = [{"Key": f"{PREFIX}/{name}", "Size": size} for name, size in present]
    stub.add_response("list_objects_v2", {"Contents": contents, "IsTruncated": False}, {**OURS, "Prefix": f"{PREFIX}/"})


def head(stub: Stubber, name: str, data: bytes) -> None:
    request = {**OURS, "Key": f"{PREFIX}/{name}", "ChecksumMode": "ENABLED"}
    stub.add_response("head_object", {"ChecksumSHA1": checksum(data)}, request)


def sent(stub: Stubber, name: str, data: bytes) -> None:
    request = {
        **OURS,
        "Key": f"{PREFIX}/{name}",
        "Body": ANY,
        "ACL": "aws-exec-read",
        "ContentType": "application/xml" if name.endswith(".xml") else "application/octet-stream",
        "ChecksumSHA1": checksum(data),
    }
    stub.add_response("put_object", {}, request)


def manifest_of(bundle: Input) -> bytes:
    return (bundle.path / "web.manifest.xml").read_bytes()


def result(bundle: Input, kept: int) -> dict[str, Any]:
    return {
        "bucket": "images",
        "prefix": PREFIX,
        "manifest": f"{PREFIX}/web.manifest.xml",
        "location": f"images/{PREFIX}/web.manifest.xml",
        "sent": 500 + len(manifest_of(bundle)) - kept,
        "kept": kept,
    }


def test_everything_is_sent_manifest_last(s3: Stubber, bundle: Input, go: Callable[[], Any]) -> None:
    there(s3)
    for name, data in PARTS.items():
        sent(s3, name, data)
    sent(s3, "web.manifest.xml", manifest_of(bundle))
    assert go() == result(bundle, kept=0)


def test_goes_on_where_it_stopped(s3: Stubber, bundle: Input, go: Callable[[], Any]) -> None:
    there(s3, ("web.part.0", 300))
    head(s3, "web.part.0", PARTS["web.part.0"])
    sent(s3, "web.part.1", PARTS["web.part.1"])
    sent(s3, "web.manifest.xml", manifest_of(bundle))
    assert go() == result(bundle, kept=300)


def test_parts_of_another_size_or_content_are_sent_again(s3: Stubber, bundle: Input, go: Callable[[], Any]) -> None:
    there(s3, ("web.part.0", 300), ("web.part.1", 199))
    head(s3, "web.part.0", b"x" * 300)
    for name, data in PARTS.items():
        sent(s3, name, data)
    sent(s3, "web.manifest.xml", manifest_of(bundle))
    assert go() == result(bundle, kept=0)


def test_all_there_sends_nothing(s3: Stubber, bundle: Input, go: Callable[[], Any]) -> None:
    size = len(manifest_of(bundle))
    there(s3, ("web.part.0", 300), ("web.part.1", 200), ("web.manifest.xml", size))
    head(s3, "web.manifest.xml", manifest_of(bundle))
    for name, data in PARTS.items():
        head(s3, name, data)
    assert go() == result(bundle, kept=500 + size)


def test_a_part_that_was_lost_is_sent_and_the_manifest_after_it(
    s3: Stubber, bundle: Input, go: Callable[[], Any]
) -> None:
    there(s3, ("web.part.0", 300), ("web.manifest.xml", len(manifest_of(bundle))))
    head(s3, "web.manifest.xml", manifest_of(bundle))
    head(s3, "web.part.0", PARTS["web.part.0"])
    sent(s3, "web.part.1", PARTS["web.part.1"])
    sent(s3, "web.manifest.xml", manifest_of(bundle))
    assert go() == result(bundle, kept=300)


def test_two_bundles_are_not_mixed(s3: Stubber, go: Callable[[], Any]) -> None:
    there(s3, ("web.part.0", 300), ("other.part.0", 7))
    with pytest.raises(
        RegionError, match=f"s3://images/{PREFIX}/ holds 1 objects that are not of this bundle"
    ) as caught:
        go()
    assert caught.value.detail == f"{PREFIX}/other.part.0"


def test_the_manifest_of_another_bundle(s3: Stubber, bundle: Input, go: Callable[[], Any]) -> None:
    there(s3, ("web.manifest.xml", len(manifest_of(bundle))))
    head(s3, "web.manifest.xml", b"another one")
    with pytest.raises(RegionError, match="is the manifest of another bundle"):
        go()


def test_the_first_refusal_ends_it_without_a_manifest(s3: Stubber, go: Callable[[], Any]) -> None:
    there(s3)
    s3.add_client_error("put_object", "AccessDenied", http_status_code=403)
    s3.add_client_error("put_object", "AccessDenied", http_status_code=403)
    with pytest.raises(RegionError, match="access denied to PutObject"):
        go()
    s3._queue.clear()  # the second part may or may not have begun


def test_a_bucket_that_is_made_is_told(s3: Stubber, bundle: Input, tmp_path: Path) -> None:
    s3.add_client_error("head_bucket", "404", http_status_code=404, expected_params=OURS)
    s3.add_response("create_bucket", {}, {"Bucket": "images", "ObjectOwnership": "ObjectWriter"})
    s3.add_response("list_objects_v2", {"IsTruncated": False}, {**OURS, "Prefix": f"{PREFIX}/"})
    for name, data in PARTS.items():
        sent(s3, name, data)
    sent(s3, "web.manifest.xml", manifest_of(bundle))
    notes: list[str] = []
    stage.run(SPEC, stage_context(tmp_path, bundle, note=notes.append))
    assert notes == ["made the bucket images for bundles of 123456789012 in us-east-1"]
