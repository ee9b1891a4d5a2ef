"""Buckets of S3: made where they must be, and asked whether EC2 will be able to read a bundle in them."""

from typing import Any

from botocore.exceptions import ClientError

from builder.catalog.ec2_user import EC2_USER
from builder.cloud.errors import answers, aws_command, code_of
from builder.cloud.s3 import MISSING, Bucket
from builder.errors import BuilderError, RegionError
from builder.formats import bucket_policy

_RACED = {"BucketAlreadyOwnedByYou", "OperationAborted"}
_DENIED = {"403", "AccessDenied", "AllAccessDisabled", "NotImplemented", "MethodNotAllowed"}
_ENFORCED = "BucketOwnerEnforced"
_PUBLIC = "public-read"


def ensure_bucket(bucket: Bucket) -> bool:
    """Make the bucket when there is none, in the client's region; True if it was made.

    RegionError when the bucket is somebody else's, or in another region: EC2 registers from its own region only.
    """
    if is_there(bucket):
        return False
    with answers(bucket.client, f"the bucket {bucket.name}"):
        return _create(bucket)


def is_there(bucket: Bucket) -> bool:
    """Whether there is such a bucket. RegionError when it is somebody else's, or in another region."""
    with answers(bucket.client, f"the bucket {bucket.name}"):
        try:
            answer = bucket.client.head_bucket(**bucket.address)
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            _hold_region(bucket, headers.get("x-amz-bucket-region"))
            _raise_reason(bucket)
            if code_of(error) == "403":
                owner = f", with {bucket.account} as the expected owner" if bucket.account else ""
                raise RegionError(
                    f"the bucket {bucket.name} is not yours to use",
                    detail=f"HeadBucket: access denied{owner}.",
                    hint="allow s3:ListBucket if it is yours, or choose another bucket",
                ) from error
            raise
        _hold_region(bucket, answer.get("BucketRegion") or _location(bucket))
    return True


def region_of(bucket: Bucket) -> str:
    """The region that the bucket is in, also where it cannot be used; empty when there is none of that name."""
    with answers(bucket.client, f"the bucket {bucket.name}"):
        try:
            answer = bucket.client.head_bucket(**bucket.address)
        except ClientError as error:
            answer = error.response
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))


def region_of_location(constraint: str | None) -> str:
    """The region that a location constraint stands for, S3's own old words too: nothing and US, and EU."""
    return {"": "us-east-1", "US": "us-east-1", "EU": "eu-west-1"}.get(constraint or "", constraint or "")


def readable_acl(bucket: Bucket, prefix: str, acl: str | None, *, storing: bool = True) -> str | None:
    """The canned list to send with every object below `prefix` so that EC2 can read it, or None when a policy of the
    bucket lets it.

    Asked before anything is sent. RegionError, with what to do, when EC2 could not read what is stored there. Who may
    not look at the bucket's settings is not stopped: the first object tells then. Unless something is to be stored
    (`storing`) it does not matter how the bucket would encrypt it.
    """
    with answers(bucket.client, f"the bucket {bucket.name}"):
        if storing:
            _refuse_kms(bucket)
        if acl is None:
            return None
        if _ownership(bucket) == _ENFORCED:
            if _granted(bucket, prefix):
                return None
            raise no_acls(bucket, prefix, acl)
        if acl == _PUBLIC:
            _refuse_blocked(bucket)
    return acl


def no_acls(bucket: Bucket, prefix: str, acl: str) -> RegionError:
    """The bucket takes no access lists; the two remedies."""
    controls = f"s3api put-bucket-ownership-controls --bucket {bucket.name} "
    controls += "--ownership-controls 'Rules=[{ObjectOwnership=ObjectWriter}]'"
    policy = bucket_policy.granting(bucket.name, prefix, EC2_USER, _partition(bucket))
    return RegionError(
        f"the bucket {bucket.name} does not allow ACLs, so EC2 could not read the bundle",
        detail=f"Its Object Ownership is {_ENFORCED}, and EC2 gets to read a bundle by the ACL {acl}, or by a policy.\n"
        "Either allow ACLs, as the hint says, or let EC2's own user read there (this replaces the bucket's policy):\n"
        + aws_command(bucket.client, f"s3api put-bucket-policy --bucket {bucket.name} --policy '{policy}'"),
        hint=f"run: {aws_command(bucket.client, controls)} (or use another bucket)",
    )


def delete_empty(bucket: Bucket) -> bool:
    """Remove the bucket if nothing is in it; whether it is gone."""
    with answers(bucket.client, f"the bucket {bucket.name}"):
        try:
            bucket.client.delete_bucket(**bucket.address)
        except ClientError as error:
            if code_of(error) != "BucketNotEmpty":
                raise
            return False
    return True


def _create(bucket: Bucket) -> bool:
    region = bucket.client.meta.region_name
    # ObjectWriter: since April 2023 a bucket refuses ACLs otherwise, and EC2 reads bundles by the ACL aws-exec-read.
    request: dict[str, Any] = {"Bucket": bucket.name, "ObjectOwnership": "ObjectWriter"}
    if region != "us-east-1":  # the one region that must not be named
        request["CreateBucketConfiguration"] = {"LocationConstraint": region}
    try:
        bucket.client.create_bucket(**request)
    except ClientError as error:
        if code_of(error) in _RACED:
            return False
        if code_of(error) == "BucketAlreadyExists":
            raise RegionError(
                f"the bucket {bucket.name} belongs to somebody else",
                hint="bucket names are shared by all of AWS: choose another one",
            ) from error
        raise
    return True


def _raise_reason(bucket: Bucket) -> None:
    """Ask again what HEAD refused: its answer has no body, so 403 may be a wrong key, or a wrong clock.

    ListObjectsV2 needs the same right. That this is missing says no more than HEAD did.
    """
    try:
        bucket.client.list_objects_v2(**bucket.address, MaxKeys=0)
    except ClientError as error:
        if code_of(error) not in _DENIED:
            raise


def _location(bucket: Bucket) -> str:
    """The bucket's region, where S3 does not tell it unasked; empty where it may not be asked for either."""
    answer = _asked(bucket, "get_bucket_location", "NoSuchBucket")
    return "" if answer is None else region_of_location(answer.get("LocationConstraint"))


def _hold_region(bucket: Bucket, location: str | None) -> None:
    if location and location != bucket.client.meta.region_name:
        raise RegionError(
            f"the bucket {bucket.name} is in {location}, the AMI is for {bucket.client.meta.region_name}",
            hint="EC2 registers bundles of its own region only: choose another bucket, or the other region",
        )


def _asked(bucket: Bucket, operation: str, absent: str) -> dict[str, Any] | None:
    """A setting of the bucket; None when it is not there, or not ours to see."""
    try:
        answer: dict[str, Any] = getattr(bucket.client, operation)(**bucket.address)
    except ClientError as error:
        if code_of(error) == absent or code_of(error) in _DENIED:
            return None
        raise
    return answer


def _ownership(bucket: Bucket) -> str:
    answer = _asked(bucket, "get_bucket_ownership_controls", "OwnershipControlsNotFoundError")
    rules = (answer or {}).get("OwnershipControls", {}).get("Rules", ())
    return next((str(each["ObjectOwnership"]) for each in rules), "")


def _granted(bucket: Bucket, prefix: str) -> bool:
    answer = _asked(bucket, "get_bucket_policy", "NoSuchBucketPolicy")
    if answer is None:
        return False
    resource = (
        f"arn:{_partition(bucket)}:s3:::{bucket.name}/{prefix}/*"
        if prefix
        else (f"arn:{_partition(bucket)}:s3:::{bucket.name}/*")
    )
    try:
        return bucket_policy.allows(answer["Policy"], canonical_user=EC2_USER, action="s3:GetObject", resource=resource)
    except BuilderError:
        return False


def _refuse_blocked(bucket: Bucket) -> None:
    answer = _asked(bucket, "get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
    block = (answer or {}).get("PublicAccessBlockConfiguration", {})
    stopping = [name for name in ("BlockPublicAcls", "IgnorePublicAcls") if block.get(name)]
    if stopping:
        raise RegionError(
            f"the bucket {bucket.name} blocks public access, so the ACL {_PUBLIC} would not let EC2 read the bundle",
            detail=f"Its public access block has {' and '.join(stopping)}.",
            hint="use the ACL aws-exec-read: it is not public, and it is all that EC2 needs",
        )


def _refuse_kms(bucket: Bucket) -> None:
    answer = _asked(bucket, "get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError")
    rules = (answer or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    used = {str(each.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "")) for each in rules}
    if any(each.startswith("aws:kms") for each in used):
        words = f"s3api put-bucket-encryption --bucket {bucket.name} --server-side-encryption-configuration "
        words += "'Rules=[{ApplyServerSideEncryptionByDefault={SSEAlgorithm=AES256}}]'"
        raise RegionError(
            f"the bucket {bucket.name} encrypts with a key of KMS, so EC2 could not read the bundle",
            detail="EC2 reads bundles as a user of its own, which may use nobody's KMS keys. The bundle's parts are "
            "encrypted already, for you and EC2 only.",
            hint=f"use another bucket, or run: {aws_command(bucket.client, words)}",
        )


def _partition(bucket: Bucket) -> str:
    return str(bucket.client.meta.partition)
