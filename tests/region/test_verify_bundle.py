"""The lint against the local region: bundles of every known tool, and everything that keeps EC2 from reading one.

What the lint calls an error the region refuses, and what it lets through the region takes.
"""

import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from builder.bundles.lint import Finding, lint
from builder.bundles.observe import Means, observe_bucket, observe_directory
from builder.bundles.observed import KernelImage, Target
from builder.catalog.ec2_user import EC2_USER
from builder.cloud.s3 import Bucket
from builder.formats import bundle_cipher
from builder.region.control import Status
from builder.region.identity import identity
from tests.support import bundles
from tests.support.bundles import TestBundle, Writer, make_bundle
from tests.support.desk import Desk
from tests.support.regions import client

KERNELS = (KernelImage(id="aki-919dcaf8", region="local", architecture="x86_64"),)

# Of each tool: what the lint finds, errors and the rest. test_tables holds docs/bundles.md to it.
FOUND: Mapping[str, tuple[str, str]] = {
    "ec2-ami-tools-1.4": ("", ""),
    "ec2-ami-tools-1.5": ("", ""),
    "euca2ools-3.4": ("", "part-empty"),
    "euca2ools-3.1": ("declaration order account", "part-empty"),
    "euca2ools-without-key": ("empty unsigned", "user-key part-empty"),
    "euca2ools-indented": ("white-space", "signature part-empty"),
    "go-ami-tools": ("", "part-names"),
    "scalarizr": ("", ""),
    "multi-member-gzip": ("", ""),
    "pax": ("", ""),
    "pax-sparse": ("", ""),
    "version-3": ("version missing", "kernel-none"),
    "version-2007-08-29": ("version missing", "kernel-none"),
    "version-20070829": ("version missing", "kernel-none"),
    "encrypted-scheme-1": ("encrypted", ""),
    "encrypted-scheme-2": ("encrypted", ""),
}


def ids(findings: tuple[Finding, ...], *, errors: bool) -> str:
    """Each once; but not that the parts are small, which they are in tests only."""
    found = (each.id for each in findings if (each.severity == "error") is errors and each.id != "part-cut")
    return " ".join(dict.fromkeys(found))


@pytest.fixture
def target(region: Status) -> Target:
    own = identity(region.directory)
    modulus = bundle_cipher.load_public_key(own.certificate.read_bytes()).public_numbers().n
    return Target(region="local", account=own.account, certificate=own.fingerprint, modulus=modulus, kernels=KERNELS)


def means(bundle: TestBundle, region: Status, *, deep: bool = True) -> Means:
    return Means(
        certificate=bundle_cipher.load_public_key(bundle.user_certificate.read_bytes()),
        private_key=bundle_cipher.load_private_key(bundle.user_key.read_bytes()),
        ec2_key=bundle_cipher.load_private_key(identity(region.directory).private_key.read_bytes()),
        deep=deep,
    )


def put(s3: Any, bucket: str, bundle: TestBundle, *, acl: str = "aws-exec-read", **more: Any) -> None:
    for name, data in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=f"p/{name}", Body=data, ACL=acl, **more)


def look(s3: Any, ec2: Any, bucket: str, bundle: TestBundle, target: Target, trying: Means) -> tuple[Finding, ...]:
    place = Bucket(client=s3, name=bucket)
    return lint(observe_bucket(place, f"p/{bundle.manifest_name}", ec2, target, trying), target)


def refusal(ec2: Any, location: str) -> str:
    """EC2's code for registering it; "" when it registers."""
    try:
        ec2.register_image(Name=f"t-{secrets.token_hex(8)}", ImageLocation=location)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.mark.parametrize("writer", bundles.WRITERS, ids=str)
def test_bundles_of_every_tool(
    writer: Writer, region: Status, s3: Any, ec2: Any, bucket: str, work: Path, target: Target
) -> None:
    """Beside one another: what the lint says of the files, of the objects, and what RegisterImage says."""
    certificate = identity(region.directory).certificate
    bundle = make_bundle(work, certificate, writer=writer, content=random.Random(1).randbytes(3000), part_size=256)
    here = work / "bundle"
    here.mkdir()
    for name, data in bundle.files().items():
        (here / name).write_bytes(data)
    trying = means(bundle, region)
    found = lint(observe_directory(here / bundle.manifest_name, trying), target)
    assert (ids(found, errors=True), ids(found, errors=False)) == FOUND[writer.name]

    put(s3, bucket, bundle)
    assert look(s3, ec2, bucket, bundle, target, trying) == tuple(
        replace(each, where=each.where.replace(str(here / bundle.manifest_name), f"{bucket}/p/{bundle.manifest_name}"))
        for each in found
    )
    answer = refusal(ec2, f"{bucket}/p/{bundle.manifest_name}")
    assert answer == ("InvalidManifest" if ids(found, errors=True) else "")


def test_tables() -> None:
    """The page tells of every tool what is found here."""
    page = (Path(__file__).parents[2] / "docs/bundles.md").read_text()
    for name, found in FOUND.items():
        errors, others = (", ".join(f"`{each}`" for each in words.split()) or "none" for words in found)
        assert f"| {name} | {errors} | {others} |" in page, name


def policy(bucket: str, **more: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"CanonicalUser": EC2_USER},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/p/*",
        **more,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def seen(region: Status, s3: Any, ec2: Any, bundle: TestBundle, target: Target) -> Any:
    """What is found wrong with the bundle in a bucket, and whether EC2 registers it."""

    def see(bucket: str) -> tuple[str, str]:
        found = look(s3, ec2, bucket, bundle, target, means(bundle, region, deep=False))
        # Its parts are of 256 bytes, and without S3's SHA-1 where they were stored so.
        told = " ".join(each.id for each in found if each.id not in ("part-cut", "unread"))
        return told, refusal(ec2, f"{bucket}/p/{bundle.manifest_name}")

    return see


def test_granted(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    put(s3, bucket, bundle)
    assert seen(bucket) == ("", "")


def test_private(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    put(s3, bucket, bundle, acl="private")
    assert seen(bucket) == ("access", "InvalidManifest")


def test_one_private_part(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    put(s3, bucket, bundle)
    s3.put_object_acl(Bucket=bucket, Key=f"p/{next(iter(bundle.parts))}", ACL="private")
    assert seen(bucket) == ("access", "InvalidManifest")


def test_public_read(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    """Enough, until the bucket's public access block makes it count for nothing."""
    s3.delete_public_access_block(Bucket=bucket)
    put(s3, bucket, bundle, acl="public-read")
    assert seen(bucket) == ("", "")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert seen(bucket) == ("access", "InvalidManifest")


def test_owner_enforced(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    """The lists count for nothing; a policy does."""
    put(s3, bucket, bundle)
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    assert seen(bucket) == ("access", "InvalidManifest")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket))
    assert seen(bucket) == ("", "")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, Resource=f"arn:aws:s3:::{bucket}/q/*"))
    assert seen(bucket) == ("access", "InvalidManifest")


def test_parts_gone_and_stale(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    put(s3, bucket, bundle)
    s3.put_object(Bucket=bucket, Key=f"p/{bundle.name}.part.99", Body=b"old", ACL="aws-exec-read")
    assert seen(bucket) == ("stale-parts", "")
    s3.delete_object(Bucket=bucket, Key=f"p/{next(iter(bundle.parts))}")
    assert seen(bucket) == ("part-missing stale-parts", "InvalidManifest")


def test_a_part_of_another_bundle(s3: Any, bucket: str, bundle: TestBundle, seen: Any) -> None:
    """The same length, other bytes: S3's own SHA-1 tells, without reading it."""
    put(s3, bucket, bundle, ChecksumAlgorithm="SHA1")
    name, data = next(iter(bundle.parts.items()))
    other = bytes(len(data))
    s3.put_object(Bucket=bucket, Key=f"p/{name}", Body=other, ACL="aws-exec-read", ChecksumAlgorithm="SHA1")
    assert seen(bucket) == ("part-digest", "InvalidManifest")


def test_a_kernel_that_the_region_lacks(
    region: Status, s3: Any, ec2: Any, bucket: str, work: Path, target: Target
) -> None:
    made = make_bundle(work, identity(region.directory).certificate, kernel_id="aki-12345678")
    put(s3, bucket, made)
    found = look(s3, ec2, bucket, made, target, means(made, region))
    assert [(each.id, each.what) for each in found] == [("kernel", "the local region has no kernel image aki-12345678")]
    assert refusal(ec2, f"{bucket}/p/{made.manifest_name}") == "InvalidAMIID.NotFound"


def test_made_for_another_region(region: Status, s3: Any, ec2: Any, bucket: str, work: Path, target: Target) -> None:
    """The length is right; the region's own key tells."""
    _, other = bundles.make_user(work / "other")
    made = make_bundle(work, other)
    put(s3, bucket, made)
    found = look(s3, ec2, bucket, made, target, means(made, region))
    assert [(each.id, each.what) for each in found] == [("certificate", "the key of the local region does not open it")]
    assert refusal(ec2, f"{bucket}/p/{made.manifest_name}") == "InvalidManifest"


def test_deep_reads_everything(region: Status, s3: Any, ec2: Any, bucket: str, work: Path, target: Target) -> None:
    """One bit of one part, stored without a checksum: nothing but reading tells."""
    made = make_bundle(work, identity(region.directory).certificate)
    put(s3, bucket, made)
    name, data = next(iter(made.parts.items()))
    s3.put_object(
        Bucket=bucket, Key=f"p/{name}", Body=bytes([data[0] ^ 1]) + data[1:], ACL="aws-exec-read",
    )  # fmt: skip
    shallow = look(s3, ec2, bucket, made, target, means(made, region, deep=False))
    assert ids(shallow, errors=True) == ""
    assert ids(look(s3, ec2, bucket, made, target, means(made, region)), errors=True) == "contents"


def test_the_command(tmp_path: Path) -> None:
    """Its own region, an address in every form, and exit codes."""
    desk = Desk(path=tmp_path)
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    try:
        endpoint = desk.run("region", "start").stdout.strip()
        own = identity(tmp_path / "state/ami-factory/region")
        made = make_bundle(tmp_path / "user", own.certificate)
        place = client("s3", endpoint)
        place.create_bucket(Bucket="images", ObjectOwnership="BucketOwnerPreferred")
        put(place, "images", made)
        key = f"images/p/{made.manifest_name}"
        keys = ("--certificate", str(made.user_certificate), "--private-key", str(made.user_key))
        for subject in (f"s3://{key}", key, "s3://images/p", "images/p/"):
            done = desk.run("verify", subject, *keys, "--deep")
            told = f"{key}: nothing to say; the local region would take it, as far as can be seen\n"
            assert (done.code, done.stdout, done.stderr) == (0, told, "")

        place.put_object_acl(Bucket="images", Key=f"p/{made.manifest_name}", ACL="private")
        done = desk.run("verify", f"s3://{key}", *keys, "--deep", "--json")
        assert [(each["id"], each["where"]) for each in done.document["findings"]] == [("access", made.manifest_name)]
        assert done.code == 1

        put(place, "images", replace(made, name="other", manifest=b"<manifest/>"))
        done = desk.run("verify", "images/p")
        assert (done.code, done.stderr.splitlines()[0]) == (2, "error: s3://images/p holds 2 manifests")
        done = desk.run("verify", "images/q/web.manifest.xml")
        assert (done.code, done.stderr.splitlines()[0]) == (
            4,
            "error: s3://images/q/web.manifest.xml: GetObject was refused: NoSuchKey",
        )
    finally:
        assert desk.run("region", "stop").code == 0
