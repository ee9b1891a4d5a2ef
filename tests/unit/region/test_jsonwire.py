"""AWS's JSON protocols: which operation is meant, what of a request is refused, and the forms of refusals."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.region import jsonwire
from builder.region.errors import ServiceError


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/snapshots", ("StartSnapshot", {})),
        ("POST", "/snapshots/completion/snap-1", ("CompleteSnapshot", {"snapshotId": "snap-1"})),
        ("PUT", "/snapshots/snap-1/blocks/7", ("PutSnapshotBlock", {"snapshotId": "snap-1", "blockIndex": "7"})),
        ("GET", "/snapshots/snap-1/blocks/7", ("GetSnapshotBlock", {"snapshotId": "snap-1", "blockIndex": "7"})),
        ("GET", "/snapshots/snap-1/blocks", ("ListSnapshotBlocks", {"snapshotId": "snap-1"})),
        ("GET", "/snapshots/a%20b/changedblocks", ("ListChangedBlocks", {"secondSnapshotId": "a b"})),
    ],
)
def test_operations_of_the_ebs_direct_api(method: str, path: str, expected: Any) -> None:
    assert jsonwire.rest_operation("ebs", method, path) == expected


@pytest.mark.parametrize(("method", "path"), [("GET", "/snapshots"), ("PUT", "/"), ("DELETE", "/snapshots/snap-1")])
def test_no_operation(method: str, path: str) -> None:
    with pytest.raises(ServiceError) as caught:
        jsonwire.rest_operation("ebs", method, path)
    assert caught.value.code == "UnknownOperationException"


def parse(operation: str, body: object = None, *, path: Any = None, query: str = "", **headers: str) -> Any:
    text = b"" if body is None else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return jsonwire.parse_rest("ebs", operation, path=path or {}, query=query, headers=given, body=text)


def test_members_from_where_they_are() -> None:
    assert parse("StartSnapshot", {"VolumeSize": 1, "Tags": [{"Key": "a", "Value": ""}]}) == {
        "VolumeSize": 1,
        "Tags": [{"Key": "a", "Value": ""}],
    }
    listed = parse("ListSnapshotBlocks", path={"snapshotId": "snap-1"}, query="maxResults=100&startingBlockIndex=5")
    assert listed == {"SnapshotId": "snap-1", "MaxResults": 100, "StartingBlockIndex": 5}


@pytest.mark.parametrize(
    ("operation", "request_", "saying"),
    [
        pytest.param("StartSnapshot", {"body": {}}, "VolumeSize", id="missing"),
        pytest.param("StartSnapshot", {"body": {"VolumeSize": "x"}}, "not of its type", id="no number"),
        pytest.param("StartSnapshot", {"body": [1]}, "not of its type", id="no object"),
        pytest.param("StartSnapshot", {"body": {"VolumeSize": 1, "Timeout": 4321}}, "between 10 and 4320", id="range"),
        pytest.param("ListSnapshotBlocks", {"path": {"snapshotId": "ami-1"}}, "must satisfy the pattern", id="pattern"),
        pytest.param(
            "ListSnapshotBlocks", {"path": {"snapshotId": "snap-1"}, "query": "maxResults=9"}, "100", id="page"
        ),
    ],
)
def test_what_the_model_does_not_take(operation: str, request_: Any, saying: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(operation, **request_)
    error = caught.value
    assert (error.code, error.fields) == ("ValidationException", {"Reason": "INVALID_PARAMETER_VALUE"})
    assert saying in error.message


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for read in (
        lambda: jsonwire.parse_json("ssm", "PutParameter", body),
        lambda: jsonwire.parse_rest("ebs", "StartSnapshot", path={}, query="", headers={}, body=body),
    ):
        try:
            read()
        except ServiceError as error:
            assert error.code in ("ValidationException", "SerializationException")


def test_refusals_have_the_form_of_their_service() -> None:
    error = ServiceError("ValidationException", "m", {"Reason": "R"})
    told = jsonwire.refusal("ebs", error, "id")
    assert (told.status, told.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert json.loads(told.body) == {"__type": "ValidationException", "Message": "m", "Reason": "R"}
    own = {"ebs": "InternalServerException", "ssm": "InternalServerError", "servicequotas": "ServiceException"}
    for service, code in own.items():
        told = jsonwire.refusal(service, ServiceError("InternalError", "m"), "id")
        assert (told.status, json.loads(told.body)["__type"]) == (500, code)
