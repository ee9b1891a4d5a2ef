"""The one kind of answer that is not a result: an AWS error code with its HTTP status."""

from collections.abc import Mapping

# HTTP statuses of S3's error codes, from its "Error responses" reference; 400 where a code is not listed.
STATUS = {
    "AccessDenied": 403,
    "AccessDeniedException": 403,
    "AllAccessDisabled": 403,
    "AuthFailure": 401,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConflictException": 409,
    "DryRunOperation": 412,
    "InternalError": 500,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "InternalServerException": 500,
    "InvalidRange": 416,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "KMSInternalException": 500,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchEntity": 404,
    "NoSuchKey": 404,
    "NoSuchPublicAccessBlockConfiguration": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "OwnershipControlsNotFoundError": 404,
    "OperationAborted": 409,
    "PreconditionFailed": 412,
    "RequestLimitExceeded": 503,
    "ResourceNotFoundException": 404,
    "ServiceException": 500,
    "ServiceFailure": 500,
    "ServiceQuotaExceededException": 402,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "TooManyRequestsException": 429,
    "UnauthorizedOperation": 403,
}


class ServiceError(Exception):
    """An error as the service would answer it. `fields` are S3's extra elements, such as BucketName."""

    def __init__(self, code: str, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = dict(fields or {})

    @property
    def status(self) -> int:
        return STATUS.get(self.code, 400)
