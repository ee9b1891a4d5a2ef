"""Which service a request is for, and the form in which a refusal goes back."""

import errno
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from builder.region import application
from builder.region.application import Application
from builder.region.http import Answer, Body
from builder.region.state import State
from tests.support.regions import region_at

SCOPE = "AWS4-HMAC-SHA256 Credential=local/20261122/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Application:
    place = tmp_path_factory.mktemp("region")
    return Application(region_at(place))


def ask(served: Application, method: str, target: str, *, body: bytes = b"", **headers: str) -> Answer:
    given = {each.replace("_", "-"): value for each, value in headers.items()}
    given["Content-Length"] = str(len(body))
    handler: Any = SimpleNamespace(headers=given, rfile=io.BytesIO(body), close_connection=False)
    return served(method, target, given, Body(handler))


def code(answer: Answer) -> str:
    found = next(each for each in ElementTree.fromstring(answer.body).iter() if each.tag.rpartition("}")[2] == "Code")
    return found.text or ""


FORM = "application/x-www-form-urlencoded"


def test_by_the_scope_of_the_signature(served: Application) -> None:
    call = b"Action=GetCallerIdentity&Version=2011-06-15"
    for service, expected in (("sts", 200), ("ec2", 400)):
        headers = {"Content_Type": FORM, "Authorization": SCOPE.format(service)}
        assert ask(served, "POST", "/", body=call, **headers).status == expected
    assert ask(served, "GET", "/", Authorization=SCOPE.format("s3")).status == 200


def test_by_the_version_where_there_is_no_scope(served: Application) -> None:
    """Signature Version 2, in the query string or in a form, as EC2's first tools have it."""
    answer = ask(served, "GET", "/?Action=DescribeRegions&Version=2010-08-31&AWSAccessKeyId=local&Signature=x")
    assert (answer.status, b"us-east-1" in answer.body) == (200, True)
    call = b"Action=GetCallerIdentity&Version=2011-06-15&AWSAccessKeyId=local"
    assert ask(served, "POST", "/", body=call, Content_Type=FORM).status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5000", "localhost:5000", "bucket.s3.localhost:5000", "[::1]:5000", "100.64.2.1:5000"]
)
def test_programs_of_this_machine_are_answered(host: str, served: Application) -> None:
    assert ask(served, "GET", "/", Authorization=SCOPE.format("sts"), Host=host).status != 403


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://page.example"}, id="a page's form"),
        pytest.param({"Origin": "null"}, id="a sandboxed page"),
        pytest.param({"Host": "page.example:5000"}, id="a name that leads here"),
        pytest.param({"Host": "127.page.example"}, id="a name that looks like an address"),
        pytest.param({"Host": "[::1"}, id="no name at all"),
    ],
)
def test_web_pages_are_not(headers: dict[str, str], served: Application) -> None:
    call = b"Action=DescribeImages&Version=2016-11-15&AWSAccessKeyId=x"
    answer = ask(served, "POST", "/", body=call, Content_Type=FORM, **headers)
    assert (answer.status, code(answer)) == (403, "AccessDenied")


def test_refusals_have_the_form_of_their_service(served: Application) -> None:
    s3 = ask(served, "GET", "/bucket/key", Authorization=SCOPE.format("s3"))
    assert (s3.status, code(s3), ElementTree.fromstring(s3.body).tag) == (404, "NoSuchBucket", "Error")
    ec2 = ask(served, "POST", "/", body=b"Action=Nonsense", Content_Type=FORM, Authorization=SCOPE.format("ec2"))
    assert (ec2.status, code(ec2), ElementTree.fromstring(ec2.body).tag) == (400, "InvalidAction", "Response")
    other = ask(served, "POST", "/", body=b"Action=ListUsers", Content_Type=FORM, Authorization=SCOPE.format("iam"))
    assert (other.status, code(other)) == (400, "UnsupportedOperation")
    json = ask(served, "POST", "/", body=b"{}", Content_Type="application/x-amz-json-1.1", X_Amz_Target="AmazonSSM.X")
    assert (json.status, b'"__type": "UnsupportedOperation"' in json.body) == (400, True)


def test_a_head_has_no_body(served: Application) -> None:
    answer = ask(served, "HEAD", "/bucket", Authorization=SCOPE.format("s3"))
    assert (answer.status, answer.body, answer.length) == (404, b"", 0)


def test_strangers(served: Application) -> None:
    assert code(ask(served, "GET", "/")) == "AccessDenied"
    assert code(ask(served, "POST", "/", body=b"Action=DescribeImages", Content_Type=FORM)) == "AuthFailure"


def test_a_full_disk_is_said(served: Application, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def full(**_: object) -> Answer:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(application, "serve_s3", full)
    answer = ask(served, "PUT", "/bucket/key", Authorization=SCOPE.format("s3"))
    assert (answer.status, code(answer), b"No space left on device" in answer.body) == (500, "InternalError", True)
    assert "Traceback" in capsys.readouterr().err


def test_state_directories_are_the_owners_own(tmp_path: Path) -> None:
    State(tmp_path / "state")
    assert {each.name: each.stat().st_mode & 0o077 for each in (tmp_path / "state").iterdir() if each.is_dir()} == {
        "blobs": 0,
        "disks": 0,
        "incoming": 0,
    }
