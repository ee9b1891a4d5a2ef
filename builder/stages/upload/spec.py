"""The `upload` stage: the bundle's parts in S3, then its manifest."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSpec:
    """Input: `bundle`. Result: `{"bucket", "prefix", "manifest": S3 key, "location": "bucket/key", "sent": bytes,
    "kept": bytes}`. The prefix ends in twelve digits of the ciphertext's digest."""

    VERSION: ClassVar[int] = 1

    partition: str
    account: str
    region: str
    endpoint: str
    """Identity of the endpoint: "aws", the local region's own id (never its address), or what --endpoint-url says."""
    bucket: str
    prefix: str
    acl: str
