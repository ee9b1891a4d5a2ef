"""Puts a bundle into S3: what is missing, several parts at once, and the manifest last."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from builder.cloud import s3, session, sts
from builder.cloud.errors import aws_command
from builder.errors import RegionError
from builder.formats.manifest_reader import read_manifest
from builder.stages.contract import Input, Result, StageContext, Surroundings
from builder.stages.upload.spec import UploadSpec

PART_TYPE = "application/octet-stream"
MANIFEST_TYPE = "application/xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file of the bundle, and where it goes."""

    path: Path
    key: str
    size: int
    sha1: str
    content_type: str = PART_TYPE


def run(spec: UploadSpec, context: StageContext) -> Result:
    """Make the bucket hold the whole bundle. Killed and run again, it sends what is missing.

    The manifest is sent after everything else has arrived: where it is, the bundle is whole.
    """
    bundle = context.input("bundle")
    prefix = f"{spec.prefix}/{bundle.result['ciphertext_sha256'][:12]}"
    parts, manifest = items(bundle, prefix)
    refuse_other_account(spec, context.surroundings)
    bucket = s3.Bucket(
        client=session.client("s3", context.surroundings, spec.region), name=spec.bucket, account=spec.account
    )
    if s3.ensure_bucket(bucket):
        context.note(f"made the bucket {spec.bucket} for bundles of {spec.account} in {spec.region}")
    present = s3.sizes(bucket, f"{prefix}/")
    refuse_others(spec.bucket, prefix, present, {item.key for item in (*parts, manifest)})
    finished = _finished(bucket, manifest, present)

    total = sum(item.size for item in (*parts, manifest))
    done = sent = 0
    for item, was_sent in _send(bucket, parts, present, spec.acl):
        done += item.size
        sent += item.size * was_sent
        context.progress("upload", done, total)
    if not finished or sent:
        _put(bucket, manifest, spec.acl)
        sent += manifest.size
    context.progress("upload", total, total)
    return {
        "bucket": spec.bucket,
        "prefix": prefix,
        "manifest": manifest.key,
        "location": f"{spec.bucket}/{manifest.key}",
        "sent": sent,
        "kept": total - sent,
    }


def refuse_other_account(spec: UploadSpec, surroundings: Surroundings) -> None:
    """RegionError when AWS's credentials are not of the bundle's account: EC2 registers one's own bundles only.

    Asked before a bucket is made for it. An endpoint that is not AWS's may know nothing of accounts.
    """
    if surroundings.endpoint_url is None and (found := sts.account(surroundings, spec.region)) != spec.account:
        raise RegionError(
            f"your credentials are of the account {found}, and the bundle is for {spec.account}",
            hint="choose others with --profile, or correct bundle.account in the recipe, or EC2_USER",
        )


def items(bundle: Input, prefix: str) -> tuple[tuple[Item, ...], Item]:
    """The parts as the manifest names them, and the manifest."""
    path = bundle.path / bundle.result["manifest"]
    data = path.read_bytes()
    parts = tuple(
        Item(
            path=bundle.path / part.filename,
            key=f"{prefix}/{part.filename}",
            size=(bundle.path / part.filename).stat().st_size,
            sha1=part.sha1,
        )
        for part in read_manifest(data).parts
    )
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return parts, Item(path=path, key=f"{prefix}/{path.name}", size=len(data), sha1=sha1, content_type=MANIFEST_TYPE)


def refuse_others(bucket: str, prefix: str, present: Mapping[str, int], ours: set[str]) -> None:
    """RegionError when the prefix holds anything that is no file of this bundle."""
    others = sorted(set(present) - ours)
    if others:
        raise RegionError(
            f"s3://{bucket}/{prefix}/ holds {len(others)} objects that are not of this bundle",
            detail="\n".join(others[:10]),
            hint="two bundles must not be mixed: remove those objects, or set bundle.prefix in the recipe",
        )


def _finished(bucket: s3.Bucket, manifest: Item, present: Mapping[str, int]) -> bool:
    """Whether the manifest is there already. RegionError when another one is: EC2 could start a half-new bundle."""
    if manifest.key not in present:
        return False
    if present[manifest.key] == manifest.size and s3.holds(bucket, manifest.key, manifest.sha1, manifest.path):
        return True
    raise RegionError(
        f"s3://{bucket.name}/{manifest.key} is the manifest of another bundle",
        hint="two bundles must not be mixed: remove it first: "
        + aws_command(bucket.client, f"s3 rm s3://{bucket.name}/{manifest.key}"),
    )


def _send(
    bucket: s3.Bucket, parts: tuple[Item, ...], present: Mapping[str, int], acl: str
) -> Iterator[tuple[Item, bool]]:
    """Every part as it is done, and whether it was sent. The first error stops what has not begun."""

    def ensure(item: Item) -> bool:
        if present.get(item.key) == item.size and s3.holds(bucket, item.key, item.sha1, item.path):
            return False
        _put(bucket, item, acl)
        return True

    with ThreadPoolExecutor(session.POOL, "upload") as pool:
        try:
            working = {pool.submit(ensure, item): item for item in parts}
            for each in as_completed(working):
                yield working[each], each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _put(bucket: s3.Bucket, item: Item, acl: str) -> None:
    s3.put(bucket, item.key, item.path, sha1=item.sha1, acl=acl, content_type=item.content_type)
