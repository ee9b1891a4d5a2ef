"""What can be asked before a build: plain data, made from a plan, answered by ask.py, judged by judge.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the answer will be asked for: the region, as the plan's steps have it."""

    region: str
    partition: str
    account: str
    aws: bool
    """AWS itself, or the local region, which knows accounts as well; an endpoint of somebody else's may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`key` is the recipe's key that the answer depends on most: `bundle.bucket`; "" where there is none."""

    key: str = ""
    fallback: bool = False
    """It matters only where the EBS direct API is denied, and the image has to go by way of S3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAsks(Question):
    """Are the credentials good, and of the account that the AMIs are for?"""

    account: str
    strict: bool
    """The account must be that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionOpen(Question):
    """Can the account use the region?"""

    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun(Question):
    """Would EC2 allow a call?"""

    operation: str
    """As EC2 has it: RegisterImage."""
    request: Mapping[str, Any] = field(hash=False)
    needed: str
    """What it is needed for."""
    later: bool = False
    """For what comes after a build: no build fails for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed(Question):
    """What does IAM's simulator say of actions that have no dry run?"""

    actions: tuple[str, ...]
    resource: str
    needed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFit(Question):
    """Can bundles be stored in the bucket, and will EC2 be able to read them there? Without an ACL: images only, which
    EC2 reads by a role of its own."""

    bucket: str
    account: str
    region: str
    prefix: str
    acl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocksReached(Question):
    """Does the EBS direct API answer, and not deny?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Question):
    """Is there room under a quota?"""

    service: str
    code: str
    """L-309BACF6; or the quota's name, where no code of it is documented."""
    what: str
    """What it limits, in the plural."""
    more: int
    """How many the build adds; 0 where it adds none, and nothing is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFree(Question):
    """Is the AMI's name free, or taken by the very AMI of the step's key?"""

    name: str
    step: str
    """The register step's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelThere(Question):
    """Has the region the kernel image (AKI) or RAM disk image (ARI)?"""

    image_id: str
    architecture: str
    partitioned: bool = False
    """The image has partitions: that of PV-GRUB for them is called hd00."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRuns(Question):
    """Does the region offer the instance type, and can it start the AMI?"""

    instance_type: str
    architecture: str
    virtualization: str
    """paravirtual or hvm."""
    root_device: str
    """instance-store or ebs."""
    boot_mode: str
    ena: bool
    tpm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsable(Question):
    """Can snapshots be encrypted with the key? "" for the account's own."""

    arn: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedAnyway(Question):
    """Does the account encrypt what the recipe leaves open?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFits(Question):
    """Are certificate and private key for bundles readable, and two halves of one?"""

    certificate: str
    private_key: str


FIRST = (WhoAsks, RegionOpen)
"""Asked before all others: where these are not answered well nothing else needs to be asked."""
