"""Service Quotas: what limits the making, copying and sharing of images and snapshots.

Codes, names and defaults as AWS publishes them ("Amazon EC2 endpoints and quotas", "Amazon EBS endpoints and quotas").
Concurrent copies have quotas that are documented without a code: those codes are this region's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.region import jsonwire
from builder.region.ec2.pages import page
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.http import Answer

SERVICES = {"ec2": "Amazon Elastic Compute Cloud (Amazon EC2)", "ebs": "Amazon Elastic Block Store (Amazon EBS)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    service: str
    code: str
    name: str
    default: float
    adjustable: bool = True
    applied: float | None = None
    """The account's own, when it is not the default."""


PUBLIC_IMAGES = Quota(service="ec2", code="L-0E3CBAB9", name="Public AMIs", default=5, applied=100)
IMAGES = Quota(service="ec2", code="L-B665C33B", name="AMIs", default=50_000)
IMAGE_SHARES = Quota(service="ec2", code="L-70015FFA", name="AMI sharing", default=1000)
IMAGE_COPIES = Quota(
    service="ec2", code="L-LOCAL001", name="Concurrent AMI copies per destination Region", default=100, adjustable=False
)
SNAPSHOTS = Quota(service="ebs", code="L-309BACF6", name="Snapshots per Region", default=100_000)
SNAPSHOT_COPIES = Quota(
    service="ebs",
    code="L-LOCAL002",
    name="Concurrent snapshot copies per destination Region",
    default=20,
    adjustable=False,
)
PUT_BLOCK = Quota(service="ebs", code="L-AFAE1BE8", name="PutSnapshotBlock requests per account", default=1000)
GET_BLOCK = Quota(service="ebs", code="L-C125AE42", name="GetSnapshotBlock requests per account", default=1000)
QUOTAS = (
    PUBLIC_IMAGES, IMAGES, IMAGE_SHARES, IMAGE_COPIES, SNAPSHOTS, SNAPSHOT_COPIES, PUT_BLOCK, GET_BLOCK,
)  # fmt: skip


def value(region: Region, quota: Quota) -> float:
    """What the account may have in the region."""
    return region.faults.quota(quota.code, region.name, quota.default if quota.applied is None else quota.applied)


def _described(region: Region, quota: Quota, number: float) -> dict[str, Any]:
    return {
        "ServiceCode": quota.service,
        "ServiceName": SERVICES[quota.service],
        "QuotaArn": f"arn:aws:servicequotas:{region.name}:{region.account}:{quota.service}/{quota.code}",
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(number),
        "Unit": "None",
        "Adjustable": quota.adjustable,
        "GlobalQuota": False,
    }


def _of(service: str) -> list[Quota]:
    if service not in SERVICES:
        raise ServiceError("NoSuchResourceException", f"The service {service} has no quotas here")
    return [each for each in QUOTAS if each.service == service]


def _find(wanted: Mapping[str, Any]) -> Quota:
    for each in _of(wanted["ServiceCode"]):
        if each.code == wanted["QuotaCode"]:
            return each
    raise ServiceError("NoSuchResourceException", f"The quota {wanted['QuotaCode']} does not exist")


def get_quota(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    quota = _find(wanted)
    return {"Quota": _described(region, quota, value(region, quota))}


def get_default(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    quota = _find(wanted)
    return {"Quota": _described(region, quota, quota.default)}


def list_quotas(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = [each for each in _of(wanted["ServiceCode"]) if wanted.get("QuotaCode") in (None, each.code)]
    shown, token = page(found, wanted, lambda quota: quota.code, least=1, most=100)
    return {"Quotas": [_described(region, each, value(region, each)) for each in shown], **token}


def list_defaults(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    shown, token = page(_of(wanted["ServiceCode"]), wanted, lambda quota: quota.code, least=1, most=100)
    return {"Quotas": [_described(region, each, each.default) for each in shown], **token}


OPERATIONS: Mapping[str, Callable[[Region, Mapping[str, Any]], dict[str, Any]]] = {
    "GetServiceQuota": get_quota,
    "GetAWSDefaultServiceQuota": get_default,
    "ListServiceQuotas": list_quotas,
    "ListAWSDefaultServiceQuotas": list_defaults,
}


def serve(region: Region, operation: str, body: bytes, request_id: str) -> Answer:
    return jsonwire.serve("servicequotas", OPERATIONS, region, operation, body, request_id)
