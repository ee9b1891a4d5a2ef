"""Whether the credentials may do something: asked of EC2 by a dry run, of IAM's simulator for all else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, code_of

_DENIED = {"UnauthorizedOperation", "AccessDenied", "Client.UnauthorizedOperation"}
_UNSAID = {"NoSuchEntity", "InvalidInput", "ValidationError"}
_ASSUMED = re.compile(r"arn:(?P<partition>[a-z-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was said of a right."""

    allowed: bool | None
    """None where nothing was said of it: the request was refused for another reason."""
    words: str = ""


def dry_run(client: Client, operation: str, request: Mapping[str, Any], about: str) -> Verdict:
    """Ask EC2 whether a call (RegisterImage) would be allowed; nothing is done. RegionError without an answer.

    EC2 may look at what the request names before it looks at rights: what it says then tells nothing of them.
    """
    with answers(client, about):
        try:
            getattr(client, xform_name(operation))(**request, DryRun=True)
        except ClientError as error:
            code, words = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
            if code == "DryRunOperation":
                return Verdict(allowed=True)
            if code in _DENIED:
                return Verdict(allowed=False, words=words)
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
                raise
            return Verdict(allowed=None, words=f"{code}: {words}")
    return Verdict(allowed=None, words="the region does not know dry runs, and did it")


def simulate(client: Client, arn: str, actions: Sequence[str], resource: str) -> Mapping[str, str] | None:
    """IAM's decision on each action for whom the ARN names: allowed, implicitDeny or explicitDeny. None when IAM has
    no policies for it: root, or a role whose path its session does not tell.

    The simulator knows the policies of the user or role, boundaries and organisations' policies; not a bucket's or a
    key's own policy for roles. So a denial here is a hint, not a proof.
    """
    decisions: dict[str, str] = {}
    with answers(client, "IAM's policy simulator"):
        asked: dict[str, Any] = {
            "PolicySourceArn": policy_source(arn),
            "ActionNames": list(actions),
            "ResourceArns": [resource],
        }
        try:
            for page in client.get_paginator("simulate_principal_policy").paginate(**asked):
                for each in page["EvaluationResults"]:
                    decisions[str(each["EvalActionName"])] = str(each["EvalDecision"])
        except ClientError as error:
            if code_of(error) in _UNSAID:
                return None
            raise
    return decisions


def policy_source(arn: str) -> str:
    """Whose policies those are: of a role's session the role, as far as its session tells."""
    found = _ASSUMED.fullmatch(arn)
    return "arn:{partition}:iam::{account}:role/{role}".format(**found.groupdict()) if found else arn
