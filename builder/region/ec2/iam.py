"""IAM's SimulatePrincipalPolicy. Everybody may do everything here, but for what a rule of faults denies."""

from collections.abc import Mapping
from typing import Any

from builder.catalog.rights import RIGHTS
from builder.region.ec2.places import get_caller_identity
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError


def simulate_principal_policy(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """An action is denied where a call that it is for would be; the resource makes no difference."""
    arn = get_caller_identity(region, {})["Arn"]
    if wanted["PolicySourceArn"] != arn:
        raise ServiceError("NoSuchEntity", f"There are no policies of {wanted['PolicySourceArn']}, only of {arn}")
    decisions = {each: _decision(region, each) for each in wanted["ActionNames"]}
    return {
        "IsTruncated": False,
        "EvaluationResults": [
            {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision}
            for action, decision in decisions.items()
            for resource in wanted.get("ResourceArns") or ("*",)
        ],
    }


def _decision(region: Region, action: str) -> str:
    service, _, name = action.partition(":")
    if not name:
        raise ServiceError("InvalidInput", f"Invalid action {action}: it is written service:Name")
    operations = {each.operation for each in RIGHTS if action in each.actions} or {f"{service}.{name}"}
    # botocore's name of a service, and the one that requests are signed for.
    calls = (each.replace("service-quotas", "servicequotas").split(".") for each in operations)
    denied = any(region.faults.denies(its, called, region.name) for its, called in calls)
    return "explicitDeny" if denied else "allowed"
