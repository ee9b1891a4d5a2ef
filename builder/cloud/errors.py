"""What AWS and the network answer, turned into the one error that a user meets."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions

from builder.errors import RegionError

Client = Any
"""A botocore client: its methods are made at run time from the service's model, so no type can be written down."""

LOCAL_HINT = "start the local region: ami-factory region start"

_CREDENTIALS = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_CLOCK = {"RequestTimeTooSkewed"}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation", "403", "Forbidden"}
_ELSEWHERE = {
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_THROTTLED = {
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "Unavailable",
}
# Rights that an operation needs besides the one that has its name.
_RIGHTS = {
    "PutObject": "s3:PutObject and s3:PutObjectAcl",
    "HeadObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "CreateBucket": "s3:CreateBucket and s3:PutBucketOwnershipControls",
    "RegisterImage": "ec2:RegisterImage and ec2:CreateTags",
}


def code_of(error: exceptions.ClientError) -> str:
    """AWS's error code, such as InvalidAMIName.Duplicate."""
    return str(error.response.get("Error", {}).get("Code", ""))


def refused_with(error: RegionError) -> str:
    """AWS's error code behind what a user meets; empty when the region did not answer."""
    cause = error.__cause__
    return code_of(cause) if isinstance(cause, exceptions.ClientError) else ""


@contextmanager
def answers(client: Client, what: str) -> Iterator[None]:
    """Around calls of a client: what AWS or the network refuses becomes a RegionError about `what`."""
    try:
        yield
    except exceptions.ClientError as error:
        raise refusal(client, what, error) from error
    except exceptions.BotoCoreError as error:
        raise unanswered(client.meta.endpoint_url, what, error) from error


def refusal(client: Client, what: str, error: exceptions.ClientError) -> RegionError:
    """The region answered, and said no."""
    code, operation = code_of(error), error.operation_name
    message = str(error.response.get("Error", {}).get("Message", ""))
    right = _RIGHTS.get(operation, f"{client.meta.service_model.service_name}:{operation}")
    detail = f"{operation}: {code}: {message}"
    if code in _EXPIRED:
        return RegionError(
            f"{what}: your credentials have expired", detail=detail, hint="log in again, and run it again"
        )
    if code in _CREDENTIALS:
        return RegionError(
            f"{what}: the region does not accept your credentials",
            detail=detail,
            hint="check --profile, AWS_PROFILE and AWS_ACCESS_KEY_ID: aws sts get-caller-identity",
        )
    if code in _CLOCK:
        return RegionError(
            f"{what}: this machine's clock is wrong", detail=detail, hint="set the clock, and run it again"
        )
    if code in _DENIED:
        return RegionError(
            f"{what}: access denied to {operation}", detail=detail, hint=f"the credentials need the right to {right}"
        )
    if code in _ELSEWHERE:
        return RegionError(
            f"{what}: it is in another region than {client.meta.region_name}",
            detail=detail,
            hint="give that region with --region, or use another bucket",
        )
    if code in _THROTTLED:
        return RegionError(
            f"{what}: the region is throttling requests, many tries long", detail=detail, hint="run it again later"
        )
    return RegionError(f"{what}: {operation} was refused: {code}", detail=message)


def unanswered(endpoint: str, what: str, error: exceptions.BotoCoreError) -> RegionError:
    """Nothing was answered, or nothing could be asked."""
    detail = str(error)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return RegionError(
            f"{what}: there are no AWS credentials",
            detail=detail,
            hint="run: aws configure, or set AWS_PROFILE, or build for the local region with --region local",
        )
    if isinstance(
        error,
        exceptions.SSOTokenLoadError | exceptions.UnauthorizedSSOTokenError | exceptions.CredentialRetrievalError,
    ):
        return RegionError(
            f"{what}: your credentials cannot be renewed", detail=detail, hint="log in again: aws sso login"
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return RegionError(f"{what}: {error}", hint="check --profile and AWS_PROFILE: aws configure list-profiles")
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return RegionError(
            f"{what}: {endpoint} does not answer",
            detail=detail,
            hint=LOCAL_HINT if is_loopback(endpoint) else "check the network, the proxy settings and --region",
        )
    return RegionError(f"{what}: the request could not be made", detail=detail)


def aws_command(client: Client, words: str) -> str:
    """The AWS command that says the same to the very region that the client talks to, wherever that is.

    The local region takes any credentials, but the command wants to have some.
    """
    endpoint, region = client.meta.endpoint_url, client.meta.region_name
    if (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return f"aws {words} --region {region}"
    credentials = "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local " if is_loopback(endpoint) else ""
    return f"{credentials}aws {words} --region {region} --endpoint-url {endpoint}"


def is_loopback(url: str | None) -> bool:
    """Whether an endpoint is on this machine, by its address; a name such as 127.example.com is anybody's."""
    host = urlsplit(url or "").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
