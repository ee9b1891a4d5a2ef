import socket
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.stub import Stubber

from builder.cloud import ec2, s3, session, sts
from builder.errors import RegionError
from builder.stages.contract import Surroundings


def surroundings(path: Path, endpoint: str | None = None, profile: str | None = None) -> Surroundings:
    return Surroundings(state=path, cache=path, trees=path, endpoint_url=endpoint, profile=profile)


def test_a_local_endpoint_needs_no_credentials(tmp_path: Path) -> None:
    client = session.client("s3", surroundings(tmp_path, "http://127.0.0.1:1"), "local")
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key) == ("local", "local")
    assert client.meta.endpoint_url == "http://127.0.0.1:1"
    assert client.meta.region_name == "us-east-1"
    assert client.meta.config.s3["addressing_style"] == "path"


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"AWS_PROFILE": "nowhere"}, id="no such profile"),
        pytest.param({"AWS_PROFILE": "sso"}, id="a login that has ended"),
        pytest.param({"AWS_PROFILE": "process"}, id="a program that fails"),
        pytest.param({"AWS_CONFIG_FILE": "damaged"}, id="a damaged file"),
        pytest.param({"AWS_ACCESS_KEY_ID": "half"}, id="half a pair"),
        pytest.param({"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, id="other endpoints"),
    ],
)
def test_what_is_configured_for_aws_does_not_concern_the_local_region(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged").write_text("damaged")
    (tmp_path / "config").write_text(
        "[profile sso]\nsso_start_url = https://x.invalid/\nsso_region = us-east-1\nsso_account_id = 123456789012\n"
        "sso_role_name = a\n[profile process]\ncredential_process = /bin/false\n"
    )
    for name, value in {"AWS_CONFIG_FILE": "config", **environment}.items():
        monkeypatch.setenv(name, str(tmp_path / value) if name == "AWS_CONFIG_FILE" else value)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for service in ("s3", "ec2"):
            client = session.client(service, surroundings(tmp_path, endpoint), "local")
            assert client._request_signer._credentials.access_key == "local"
        with pytest.raises(RegionError, match="does not answer"):
            ec2.images_by_key(client, ["0" * 64])
        with pytest.raises(RegionError, match="does not answer"):
            s3.holds_all(session.client("s3", surroundings(tmp_path, endpoint), "local"), "bucket", "p/", "p/m", 1)


def test_configured_credentials_are_used_at_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    client = session.client("ec2", surroundings(tmp_path, "http://127.0.0.1:1"), "eu-west-1")
    assert client._request_signer._credentials.access_key == "one"
    assert client.meta.region_name == "eu-west-1"


def test_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "credentials"
    config.write_text("[work]\naws_access_key_id = three\naws_secret_access_key = four\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(config))
    client = session.client("ec2", surroundings(tmp_path, profile="work"), "eu-west-1")
    assert client._request_signer._credentials.access_key == "three"
    assert client.meta.endpoint_url == "https://ec2.eu-west-1.amazonaws.com"
    with pytest.raises(RegionError, match=r"profile \(play\) could not be found"):
        session.client("ec2", surroundings(tmp_path, profile="play"), "eu-west-1")


def test_no_credentials_for_aws(tmp_path: Path) -> None:
    with pytest.raises(RegionError, match="the account in eu-west-1: there are no AWS credentials"):
        sts.account(surroundings(tmp_path), "eu-west-1")


def test_a_region_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = session.client("ec2", surroundings(tmp_path, endpoint), "local")
        with pytest.raises(RegionError, match="does not answer") as caught:
            ec2.images_by_key(client, ["0" * 64])
    assert caught.value.hint == "start the local region: ami-factory region start"


def test_a_warm_run_loads_no_more_than_it_needs() -> None:
    code = (
        "import sys, builder.cloud.session, builder.cloud.ec2;"
        "print({name for name in sys.modules if name.split('.')[0] in {'boto3', 's3transfer', 'moto', 'pydantic'}})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


def test_given_credentials_are_used_and_nothing_else_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the local region either, and not when what is configured is damaged."""
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "configured")
    given = session.Credentials(key="AKIA", secret="hidden", token="token")
    for region, endpoint in (("local", "http://127.0.0.1:1"), ("eu-west-1", None)):
        client = session.client("s3", surroundings(tmp_path, endpoint), region, credentials=given)
        found = client._request_signer._credentials
        assert (found.access_key, found.secret_key, found.token) == ("AKIA", "hidden", "token")
    assert "hidden" not in repr(given)


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("access key id", session.Credentials(key="AKIA\r", secret="hidden")),
        ("security token", session.Credentials(key="AKIA", secret="hidden", token="hidden\r\n")),
    ],
)
def test_what_cannot_be_sent_is_not_shown(what: str, given: session.Credentials, tmp_path: Path) -> None:
    """http.client says "Invalid header value", and the value."""
    with pytest.raises(RegionError) as caught:
        session.client("s3", surroundings(tmp_path, "http://127.0.0.1:1"), "local", credentials=given)
    assert caught.value.brief == f"the {what} of your credentials holds a character that cannot be sent"
    assert "hidden" not in caught.value.hint


def test_answers_can_be_told_without_a_secret(tmp_path: Path) -> None:
    given = session.Credentials(key="AKIA", secret="hidden", token="token")
    client = session.client("ec2", surroundings(tmp_path, "http://127.0.0.1:1"), "local", credentials=given)
    lines: list[str] = []
    session.told(client, lines.append)
    with Stubber(client) as stubber:
        metadata = {"HTTPStatusCode": 200, "RequestId": "r-1"}
        stubber.add_response("describe_images", {"Images": [], "ResponseMetadata": metadata})
        client.describe_images()
    assert lines == ["DescribeImages: 200, request r-1"]
