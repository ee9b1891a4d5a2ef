"""A call of AWS that may be made twice without harm: what botocore gave up is tried some more."""

from collections.abc import Mapping
from typing import Any

from builder.cloud.ec2_calls import Answer
from builder.cloud.errors import Client
from builder.cloud.patience import patience_for, patiently


def asked(client: Client, operation: str, request: Mapping[str, Any], about: str) -> Answer:
    """The answer to `describe_images` or its kin. RegionError about what was asked for."""

    def ask() -> Answer:
        answer: Answer = getattr(client, operation)(**request)
        return answer

    return patiently(ask, client=client, about=about, patience=patience_for(client.meta.endpoint_url))


def all_of(client: Client, operation: str, member: str, request: Mapping[str, Any], about: str) -> list[Any]:
    """What an operation lists under `member`, of all its pages."""
    found: list[Any] = []
    token: dict[str, str] = {}
    while True:
        answer = asked(client, operation, {**request, **token}, about)
        found += answer.get(member) or ()
        if not answer.get("NextToken"):
            return found
        token = {"NextToken": answer["NextToken"]}
