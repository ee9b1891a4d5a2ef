"""What an account may have in a region, and what it has: Service Quotas beside a count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, code_of

_PAGE = 1000
_PAGES = 10
"""Most pages that are counted: who has more than 10 000 gets to hear that it is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """How many there are."""

    count: int
    more: bool = False
    """There are others that were not counted."""


def quota(client: Client, service: str, code: str) -> float | None:
    """The account's quota in the client's region, or AWS's default; None for one that the region does not have.

    `code` is the quota's name where none is documented: then all of the service's are listed.
    """
    if not code.startswith("L-"):
        return _by_name(client, service, code)
    with answers(client, f"the quota {code} of {service}"):
        for operation in ("get_service_quota", "get_aws_default_service_quota"):
            try:
                found: Mapping[str, Any] = getattr(client, operation)(ServiceCode=service, QuotaCode=code)
            except ClientError as error:
                if code_of(error) != "NoSuchResourceException":
                    raise
            else:
                return float(found["Quota"]["Value"])
    return None


def _by_name(client: Client, service: str, name: str) -> float | None:
    with answers(client, f"the quotas of {service}"):
        for page in client.get_paginator("list_service_quotas").paginate(ServiceCode=service):
            for each in page["Quotas"]:
                if str(each.get("QuotaName", "")).lower() == name.lower():
                    return float(each["Value"])
    return None


def count(client: Client, operation: str, member: str, request: Mapping[str, Any], about: str) -> Used:
    """How many a Describe call lists, in at most ten pages of a thousand."""
    counted = 0
    token: dict[str, str] = {}
    with answers(client, about):
        for _ in range(_PAGES):
            answer = getattr(client, operation)(**request, MaxResults=_PAGE, **token)
            counted += len(answer[member])
            if not answer.get("NextToken"):
                return Used(count=counted)
            token = {"NextToken": answer["NextToken"]}
    return Used(count=counted, more=True)
