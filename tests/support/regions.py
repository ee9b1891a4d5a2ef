"""A local region for tests, and plain boto3 clients that hold every answer against botocore's model."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import Shape

from builder.region import control
from builder.region.application import Application
from builder.region.ec2.instances import states
from builder.region.ec2.region import DiskOf, Region
from builder.region.http import Server
from builder.region.identity import identity
from builder.region.machines import HostMachines, Settings
from builder.region.state import State


@contextmanager
def running(directory: Path) -> Iterator[control.Status]:
    """The region of `directory`, stopped at the end whatever happens."""
    try:
        yield control.start(directory)
    finally:
        control.stop(directory)


def region_at(place: Path, machines_of: type[HostMachines] = HostMachines) -> Region:
    """A region without its server."""
    state = State(place / "state")
    machines = machines_of(
        state=state,
        private_key=lambda: region.private_key,
        place=place / "instances",
        settings=Settings(cache=place / "cache", account=identity(place).account),
    )
    region = Region(state=state, identity=identity(place), machines=machines)
    return region


class WithoutPower(HostMachines):
    """Machines that take instances up and never get to them: they stay pending."""

    def launch(self, instances: Sequence[str], disk_of: DiskOf) -> None:
        del instances, disk_of

    def terminate(self, instance: str) -> None:
        with self._state.transaction() as database:
            states.terminate(database, instance)


@contextmanager
def served(region: Region) -> Iterator[str]:
    """A region of this process, over HTTP; its endpoint."""
    server = Server(0)
    server.application = Application(region)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(
    service: str,
    endpoint_url: str,
    *,
    checked: bool = True,
    region: str = "us-east-1",
    key: str = "local",
    **options: Any,
) -> Any:
    """A client that does not retry, so that an error is seen as it came. `key`: twelve digits are another account."""
    made = boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=key,
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, **options),
    )
    if checked:
        made.meta.events.register("after-call.*.*", _check)
    return made


@contextmanager
def refused(code: str, saying: str = "") -> Iterator[None]:
    """The service answers with that error code."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert (error["Code"], saying in error.get("Message", "")) == (code, True), error


def _check(http_response: Any, model: Any, **_: Any) -> None:
    if http_response.status_code >= 300 or model.has_streaming_output or not http_response.content:
        return
    if model.service_model.protocol not in ("ec2", "query", "rest-xml"):
        return
    if model.name == "GetBucketPolicy":  # its answer is the policy, in JSON
        return
    root = ElementTree.fromstring(http_response.content)
    shape = model.output_shape
    if shape is None:
        assert {_tag(each) for each in root} == {"requestId"}
        return
    if payload := shape.serialization.get("payload"):
        shape = shape.members[payload]
    if wrapper := shape.serialization.get("resultWrapper"):
        root = next(each for each in root if _tag(each) == wrapper)
    strays = [each for each in _strays(shape, root, model.name) if not each.endswith("/requestId")]
    if model.name != "GetBucketLocation":  # its answer is known not to fit its model
        assert strays == []


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _strays(shape: Shape, node: ElementTree.Element, path: str) -> Iterator[str]:
    """The elements of an answer that its shape does not have."""
    if shape.type_name == "structure":
        known = {}
        for name, member in shape.members.items():
            flat = member.type_name == "list" and member.serialization.get("flattened")
            own = member.serialization.get("name", name)
            known[member.member.serialization.get("name", own) if flat else own] = member.member if flat else member
        for child in node:
            here = f"{path}/{_tag(child)}"
            if _tag(child) in known:
                yield from _strays(known[_tag(child)], child, here)
            else:
                yield here
    elif shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        for child in node:
            if _tag(child) != name:
                yield f"{path}/{_tag(child)}"
            yield from _strays(shape.member, child, path)
    elif len(node):
        yield f"{path}/{_tag(node[0])}"
