"""The EBS direct API's front."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from builder.region import jsonwire
from builder.region.ebs import read, write
from builder.region.ebs.record import BLOCK
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.http import Answer, Body

LARGEST_DOCUMENT = 1 << 20
OPERATIONS: Mapping[str, Callable[[Region, Mapping[str, Any]], dict[str, Any]]] = {
    "StartSnapshot": write.start_snapshot,
    "CompleteSnapshot": write.complete_snapshot,
    "ListSnapshotBlocks": read.list_blocks,
    "ListChangedBlocks": read.list_changed_blocks,
}


class Request(Protocol):
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


def serve(region: Region, request: Request, body: Body, request_id: str) -> Answer:
    operation, path = jsonwire.rest_operation("ebs", request.method, request.path)
    streamed = operation == "PutSnapshotBlock"
    wanted = jsonwire.parse_rest(
        "ebs",
        operation,
        path=path,
        query=request.query,
        headers=request.headers,
        body=b"" if streamed else body.read_all(LARGEST_DOCUMENT),
    )
    if streamed:
        return jsonwire.answer("ebs", operation, write.put_block(region, wanted, body), request_id)
    if operation == "GetSnapshotBlock":
        return _block(region, wanted, request_id)
    return jsonwire.answer("ebs", operation, OPERATIONS[operation](region, wanted), request_id)


def _block(region: Region, wanted: Mapping[str, Any], request_id: str) -> Answer:
    members, path = read.get_block(region, wanted)
    try:
        file = path.open("rb")
    except FileNotFoundError as error:  # the snapshot was deleted meanwhile
        raise ServiceError(
            "ResourceNotFoundException", "The snapshot does not exist any more", {"Reason": "SNAPSHOT_NOT_FOUND"}
        ) from error
    answer = jsonwire.answer("ebs", "GetSnapshotBlock", members, request_id)
    headers = {**answer.headers, "Content-Type": "application/octet-stream"}
    return replace(answer, headers=headers, body=b"", files=((file, 0, BLOCK),))
