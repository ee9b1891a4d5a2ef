"""What lies in a bucket: its objects with their days, and its uploads that nobody finished."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from builder.cloud.asking import asked
from builder.cloud.errors import refused_with
from builder.cloud.s3 import MISSING, Bucket
from builder.errors import RegionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """An object, or an upload of one."""

    key: str
    since: datetime
    upload: str = ""
    """Id of the upload; empty for an object."""


def objects(bucket: Bucket) -> tuple[Lying, ...]:
    """All objects; none where there is no such bucket."""
    found: list[Lying] = []
    token: dict[str, str] = {}
    while True:
        answer = _answer(bucket, "list_objects_v2", token)
        found += [Lying(key=each["Key"], since=each["LastModified"]) for each in answer.get("Contents", ())]
        if not answer.get("NextContinuationToken"):
            return tuple(found)
        token = {"ContinuationToken": answer["NextContinuationToken"]}


def uploads(bucket: Bucket) -> tuple[Lying, ...]:
    """Uploads in parts that were begun; none where there is no such bucket."""
    found: list[Lying] = []
    token: dict[str, str] = {}
    while True:
        answer = _answer(bucket, "list_multipart_uploads", token)
        found += [
            Lying(key=each["Key"], since=each["Initiated"], upload=each["UploadId"])
            for each in answer.get("Uploads", ())
        ]
        if not answer.get("IsTruncated"):
            return tuple(found)
        token = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def abort(bucket: Bucket, upload: Lying) -> None:
    """Remove an upload with its parts; no error when it is not there."""
    request = {**bucket.address, "Key": upload.key, "UploadId": upload.upload}
    try:
        asked(bucket.client, "abort_multipart_upload", request, f"the upload of s3://{bucket.name}/{upload.key}")
    except RegionError as error:
        if refused_with(error) != "NoSuchUpload":
            raise


def _answer(bucket: Bucket, operation: str, token: dict[str, str]) -> Any:
    try:
        return asked(bucket.client, operation, {**bucket.address, **token}, f"s3://{bucket.name}")
    except RegionError as error:
        if refused_with(error) in MISSING:
            return {}
        raise
