from pathlib import Path

import pytest
from botocore import exceptions
from botocore.client import BaseClient

from builder.cloud import session
from builder.cloud.errors import LOCAL_HINT, answers, aws_command, is_loopback
from builder.errors import Exit, RegionError
from builder.stages.contract import Surroundings


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> BaseClient:
    place = tmp_path_factory.mktemp("place")
    return session.client(
        "ec2",
        Surroundings(state=place, cache=place, trees=place, endpoint_url="http://127.0.0.1:1"),
        "eu-west-1",
    )


def refused(code: str, operation: str = "DescribeImages", message: str = "Because.") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("error", "brief", "hint"),
    [
        pytest.param(refused("AuthFailure"), "does not accept your credentials", "--profile", id="auth"),
        pytest.param(refused("SignatureDoesNotMatch"), "does not accept your credentials", "--profile", id="signature"),
        pytest.param(refused("ExpiredToken"), "have expired", "log in again", id="expired"),
        pytest.param(refused("RequestExpired"), "have expired", "log in again", id="request-expired"),
        pytest.param(refused("RequestTimeTooSkewed"), "clock is wrong", "set the clock", id="clock"),
        pytest.param(
            refused("UnauthorizedOperation", "RegisterImage"),
            "access denied to RegisterImage",
            "ec2:RegisterImage and ec2:CreateTags",
            id="unauthorized",
        ),
        pytest.param(refused("AccessDenied"), "access denied to DescribeImages", "ec2:DescribeImages", id="denied"),
        pytest.param(refused("PermanentRedirect"), "in another region than eu-west-1", "--region", id="redirect"),
        pytest.param(refused("SlowDown"), "throttling", "later", id="slow-down"),
        pytest.param(refused("RequestLimitExceeded"), "throttling", "later", id="throttled"),
        pytest.param(refused("InvalidManifest"), "DescribeImages was refused: InvalidManifest", "", id="other"),
        pytest.param(exceptions.NoCredentialsError(), "no AWS credentials", "aws configure", id="no-credentials"),
        pytest.param(
            exceptions.ProfileNotFound(profile="x"), "profile (x) could not be found", "--profile", id="profile"
        ),
        pytest.param(
            exceptions.SSOTokenLoadError(profile_name="x", error_msg="gone"), "cannot be renewed", "sso login", id="sso"
        ),
        pytest.param(
            exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            "http://127.0.0.1:1 does not answer",
            LOCAL_HINT,
            id="unreachable",
        ),
        pytest.param(
            exceptions.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), "does not answer", LOCAL_HINT, id="timeout"
        ),
        pytest.param(exceptions.ParamValidationError(report="bad"), "could not be made", "", id="parameters"),
    ],
)
def test_one_clear_error_each(ec2: BaseClient, error: Exception, brief: str, hint: str) -> None:
    with pytest.raises(RegionError) as caught, answers(ec2, "the AMIs"):
        raise error
    said = caught.value
    assert said.brief.startswith("the AMIs: ")
    assert brief in said.brief
    assert hint in said.hint
    assert said.exit == Exit.REGION
    assert "\n" not in said.brief + said.hint


def test_what_the_region_said_is_kept(ec2: BaseClient) -> None:
    with pytest.raises(RegionError) as caught, answers(ec2, "the AMIs"):
        raise refused("AccessDenied")
    assert caught.value.detail == "DescribeImages: AccessDenied: Because."


def test_other_errors_pass(ec2: BaseClient) -> None:
    with pytest.raises(ZeroDivisionError), answers(ec2, "the AMIs"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://localhost", True),
        ("http://[::1]:80", True),
        ("https://ec2.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1", False),
        (None, False),
        ("http://127.example.com", False),
    ],
)
def test_is_loopback(url: str | None, loopback: bool) -> None:
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    ("endpoint", "before", "after"),
    [
        pytest.param(None, "", "", id="aws"),
        pytest.param("https://ec2.example.org", "", " --endpoint-url https://ec2.example.org", id="another"),
        pytest.param(
            "http://127.0.0.1:1",
            "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local ",
            " --endpoint-url http://127.0.0.1:1",
            id="local",
        ),
    ],
)
def test_a_command_goes_where_the_client_goes(tmp_path: Path, endpoint: str | None, before: str, after: str) -> None:
    place = Surroundings(state=tmp_path, cache=tmp_path, trees=tmp_path, endpoint_url=endpoint)
    asked = session.client("ec2", place, "eu-west-1")
    assert aws_command(asked, "ec2 x") == f"{before}aws ec2 x --region eu-west-1{after}"
