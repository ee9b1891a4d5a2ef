"""One large object of S3, sent in parts, of which a killed upload keeps those that arrived."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from builder.cloud.body import Body
from builder.cloud.errors import answers, code_of
from builder.cloud.s3 import MISSING, Bucket

MOST_PARTS = 10000
"""S3's limit."""
_SMALLEST = 16 << 20
_MIB = 1 << 20
_GONE = MISSING | {"NoSuchUpload"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part that arrived."""

    size: int
    etag: str
    """The MD5 in hex, unless the bucket encrypts with a key of KMS."""


def part_size(size: int) -> int:
    """Bytes of every part of an object but the last, in whole MiB; the same for equal objects."""
    return max(_SMALLEST, -(-size // (MOST_PARTS * _MIB)) * _MIB)


def begin(bucket: Bucket, key: str) -> str:
    """The id of a new upload; what it is given is not to be seen before `finish`."""
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        return str(bucket.client.create_multipart_upload(**bucket.address, Key=key)["UploadId"])


def parts(bucket: Bucket, key: str, upload: str) -> dict[int, Part] | None:
    """The parts that an upload has, by their numbers; None when there is no such upload any more."""
    found: dict[int, Part] = {}
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        try:
            pages = bucket.client.get_paginator("list_parts").paginate(**bucket.address, Key=key, UploadId=upload)
            for page in pages:
                for each in page.get("Parts", ()):
                    found[each["PartNumber"]] = Part(size=each["Size"], etag=each["ETag"].strip('"'))
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
    return found


def put(bucket: Bucket, key: str, upload: str, number: int, data: bytes) -> str:
    """Send a part (numbers begin with 1); its ETag."""
    with answers(bucket.client, f"s3://{bucket.name}/{key}"), Body(data) as body:
        answer = bucket.client.upload_part(**bucket.address, Key=key, UploadId=upload, PartNumber=number, Body=body)
        return str(answer["ETag"]).strip('"')


def finish(bucket: Bucket, key: str, upload: str, etags: Mapping[int, str]) -> None:
    """Make the object of its parts."""
    told: Iterable[dict[str, object]] = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
    with answers(bucket.client, f"s3://{bucket.name}/{key}"):
        bucket.client.complete_multipart_upload(
            **bucket.address, Key=key, UploadId=upload, MultipartUpload={"Parts": told}
        )
