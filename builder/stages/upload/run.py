"""Puts a bundle into S3, below a prefix that is its own."""

from builder.bundles import send
from builder.cloud import buckets, session
from builder.cloud.s3 import Bucket
from builder.stages.account import refuse_other_account
from builder.stages.contract import Result, StageContext
from builder.stages.upload.spec import UploadSpec


def run(spec: UploadSpec, context: StageContext) -> Result:
    """Make the bucket hold the whole bundle. Killed and run again, it sends what is missing.

    The manifest is sent after everything else has arrived: where it is, the bundle is whole.
    """
    bundle = context.input("bundle")
    prefix = f"{spec.prefix}/{bundle.result['ciphertext_sha256'][:12]}"
    refuse_other_account(spec.account, spec.region, context.surroundings, "bundle")
    bucket = Bucket(
        client=session.client("s3", context.surroundings, spec.region), name=spec.bucket, account=spec.account
    )
    if buckets.ensure_bucket(bucket):
        context.note(f"made the bucket {spec.bucket} for bundles of {spec.account} in {spec.region}")
    done = send.upload(
        bundle.path / bundle.result["manifest"],
        bucket,
        prefix,
        acl=spec.acl,
        own_prefix=True,
        progress=lambda done, total: context.progress("upload", done, total),
    )
    return {
        "bucket": spec.bucket,
        "prefix": prefix,
        "manifest": done.manifest,
        "location": done.location,
        "sent": done.sent,
        "kept": done.kept,
    }
