"""Calls of EC2 whose request and answer are for somebody else to make and to read; this only asks."""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, code_of
from builder.errors import RegionError

Answer = Mapping[str, Any]
"""An answer, or a piece of one, by the names of the EC2 API; times are datetimes."""


def call(client: Client, operation: str, request: Mapping[str, Any], about: str) -> Answer:
    """The answer to `run_instances` or its kin. RegionError about what was asked for."""
    with answers(client, about):
        answer: Answer = getattr(client, operation)(**request)
    return answer


def listed(client: Client, operation: str, member: str, request: Mapping[str, Any], about: str) -> Sequence[Answer]:
    """What a Describe call lists under `member`, of all its pages."""
    found: list[Answer] = []
    token: dict[str, str] = {}
    while True:
        answer = call(client, operation, {**request, **token}, about)
        found += answer[member]
        if not answer.get("NextToken"):
            return found
        token = {"NextToken": answer["NextToken"]}


def may(client: Client, operation: str, request: Mapping[str, Any], about: str) -> str:
    """Ask for the right to make a call, and change nothing; EC2's words when it is given."""
    with answers(client, about):
        try:
            getattr(client, operation)(**request, DryRun=True)
        except ClientError as error:
            if code_of(error) == "DryRunOperation":
                return str(error.response["Error"].get("Message", ""))
            raise
    raise RegionError(f"{about}: the region does not know dry runs, and did it")
