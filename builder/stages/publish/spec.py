"""The `publish` stage: an AMI copied to other regions, shared, dated, and named by SSM parameters."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A region that has the AMI or gets a copy."""

    region: str
    required: bool = True
    """Nothing is promoted before every required one has it; another may be left out."""
    kms_key: str = ""
    """Encrypt the copy: with the key of this ARN, or "default", the account's own for EBS. "": as its source is."""
    parameters: tuple[str, ...] = ()
    """Names of SSM parameters for this very AMI."""
    latest: tuple[str, ...] = ()
    """Names of those that say the newest one's id; written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Whom an AMI is shared with."""

    accounts: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSpec:
    """Input: `register`.

    Result: `{"image_id", "name", "location", "images": {region: id}, "missing": {region: why}}`: best-effort regions
    may be missing.
    """

    VERSION: ClassVar[int] = 1

    partition: str
    account: str
    region: str
    endpoint: str
    destinations: tuple[Destination, ...]
    """The home region, whose AMI is copied, first."""
    audience: Audience = Audience()
    exact: bool = True
    """Take away what the AMI is shared with and is not listed."""
    deprecate_on: str = ""
    """2027-01-01T00:00:00Z"""
    deprecate_days: int = 0
    """After the AMI was made; 0 for never."""
    protection: str = ""
    """ "on", "cooldown" or nothing."""
    promote: bool = True
    """Write the `latest` parameters too."""
