"""S3's front: which operation a request stands for, who may ask, and how the answer goes back."""

from collections.abc import Callable, Mapping
from urllib.parse import unquote

from builder.region import protocol
from builder.region.errors import ServiceError
from builder.region.http import Answer, Body
from builder.region.s3 import buckets, listing, multipart, objects, settings
from builder.region.s3.call import Call, Result
from builder.region.state import State

Operation = Callable[[Call], Result]
OPERATIONS: Mapping[str, Operation] = {
    "ListBuckets": buckets.list_buckets,
    "CreateBucket": buckets.create_bucket,
    "HeadBucket": buckets.head_bucket,
    "DeleteBucket": buckets.delete_bucket,
    "GetBucketLocation": buckets.get_location,
    "GetBucketVersioning": buckets.get_versioning,
    "GetBucketAcl": buckets.get_acl,
    "PutBucketAcl": buckets.put_acl,
    "GetBucketOwnershipControls": buckets.get_ownership,
    "PutBucketOwnershipControls": buckets.put_ownership,
    "DeleteBucketOwnershipControls": buckets.delete_ownership,
    "GetBucketPolicy": settings.get_policy,
    "PutBucketPolicy": settings.put_policy,
    "DeleteBucketPolicy": settings.delete_policy,
    "GetBucketEncryption": settings.get_encryption,
    "PutBucketEncryption": settings.put_encryption,
    "DeleteBucketEncryption": settings.delete_encryption,
    "GetPublicAccessBlock": buckets.get_public_access,
    "PutPublicAccessBlock": buckets.put_public_access,
    "DeletePublicAccessBlock": buckets.delete_public_access,
    "ListObjects": listing.list_objects,
    "ListObjectsV2": listing.list_objects_v2,
    "PutObject": objects.put_object,
    "CopyObject": objects.copy_object,
    "GetObject": objects.get_object,
    "HeadObject": objects.head_object,
    "DeleteObject": objects.delete_object,
    "DeleteObjects": objects.delete_objects,
    "GetObjectAcl": objects.get_object_acl,
    "PutObjectAcl": objects.put_object_acl,
    "GetObjectAttributes": objects.get_attributes,
    "CreateMultipartUpload": multipart.create_upload,
    "UploadPart": multipart.upload_part,
    "UploadPartCopy": multipart.upload_part_copy,
    "CompleteMultipartUpload": multipart.complete_upload,
    "AbortMultipartUpload": multipart.abort_upload,
    "ListParts": multipart.list_parts,
    "ListMultipartUploads": multipart.list_uploads,
}
STREAMED = frozenset({"PutObject", "UploadPart"})
ANONYMOUS = frozenset({"GetObject", "HeadObject", "ListObjects", "ListObjectsV2"})
# Of a body that is a document; S3's own limit for DeleteObjects and CompleteMultipartUpload is below it.
LARGEST_DOCUMENT = 4 << 20


def split_path(path: str, host: str) -> tuple[str, str]:
    """Bucket and key: from the path, or the bucket from the host (BUCKET.localhost, BUCKET.s3.localhost)."""
    name = host.rpartition(":")[0] or host
    if name.endswith(".localhost"):
        return name.removesuffix(".localhost").removesuffix(".s3"), unquote(path[1:])
    bucket, _, key = path[1:].partition("/")
    return unquote(bucket), unquote(key)


def operation_of(method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
    """The operation that a request stands for."""
    bucket, key = split_path(path, headers.get("Host", ""))
    depth = 0 if not bucket else 1 if not key else 2
    return protocol.s3_operation(method, depth, protocol.Parameters(query), headers)


def serve(
    *,
    state: State,
    region: str,
    method: str,
    path: str,
    parameters: protocol.Parameters,
    headers: Mapping[str, str],
    body: Body,
    anonymous: bool,
    request_id: str,
) -> Answer:
    bucket, key = split_path(path, headers.get("Host", ""))
    depth = 0 if not bucket else 1 if not key else 2
    name = protocol.s3_operation(method, depth, parameters, headers)
    operation = OPERATIONS.get(name)
    if operation is None:
        raise ServiceError("NotImplemented", f"The local region does not offer {name}")
    if anonymous and name not in ANONYMOUS:
        raise ServiceError("AccessDenied", "Access Denied")
    document = b"" if name in STREAMED else body.read_all(LARGEST_DOCUMENT)
    parsed = protocol.parse_s3(
        name, path={"Bucket": bucket, "Key": key}, parameters=parameters, headers=headers, body=document
    )
    result = operation(
        Call(
            state=state,
            parameters=parsed,
            headers=headers,
            body=body,
            anonymous=anonymous,
            region=region,
        )
    )
    status, fields, content = protocol.serialize("s3", name, result.members, request_id)
    fields["x-amz-request-id"] = request_id
    if name == "GetObject" or result.length is not None:
        fields["Content-Type"] = str(result.members.get("ContentType", "binary/octet-stream"))
        content = b""
    fields.pop("Content-Length", None)
    return Answer(
        status=result.status or status,
        headers={**fields, **result.headers},
        body=content,
        files=result.files,
        length=result.length,
    )
