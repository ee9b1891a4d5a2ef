"""The `snapshot` stage: the image as an EBS snapshot."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpec:
    """Input: `image` (disk.raw and blocks).

    Result: `{"snapshot_id", "volume_size": GiB, "parent": id or "", "full": why there is no parent, or "", "method":
    "direct" or "import", "blocks": SHA-256 of the snapshot's list of blocks, "blocks_total": those that are not zero in
    the image, "blocks_sent", "blocks_kept": sent by an earlier run that was killed, "found": bool}`.

    The step's own key travels as the tag `ami-factory:key` in the StartSnapshot call.
    """

    VERSION: ClassVar[int] = 1

    partition: str
    account: str
    region: str
    endpoint: str
    """As of the upload: "aws", the local region's own id, or what --endpoint-url says."""
    description: str
    """Up to 255 characters."""
    encrypted: bool
    kms_key: str
    """ARN of a key; empty for the account's own key for EBS, where it is encrypted."""
    lineage: str
    """Name of the variant: the newest snapshot of the lineage is the parent of the next."""
    tags: tuple[tuple[str, str], ...]
