"""What all work on bundles shares: who signs, what a bundle says of itself, where parts come from and go to.

A bundle is made in one pass (`write`), taken apart in one pass (`read`), and moved without being taken apart (`send`,
`fetch`, `remove`, `migrate`). All of them see parts through the two protocols here, so a directory and S3 are the same.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from builder.formats.bundle_stream import PartDigest, PartSink
from builder.formats.unseal import PartSource

__all__ = ["SIZE_LIMIT", "Description", "Keys", "PartDigest", "PartSink", "PartSource", "Progress", "no_progress"]

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

SIZE_LIMIT = 10 * 1024**3
"""Bytes of the largest image that EC2 takes for an instance-store AMI; exactly 10 GiB is allowed."""


class Progress(Protocol):
    """Told how many bytes of how many are done, often; called from one thread at a time."""

    def __call__(self, done: int, total: int) -> None: ...


def no_progress(done: int, total: int) -> None:
    """For who does not look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The two who can open a bundle, and the one who signs it."""

    private_key: "RSAPrivateKey" = field(repr=False)
    """The user's: signs, and its public half is wrapped for."""
    ec2: "RSAPublicKey"
    """EC2's, by the region that the bundle is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a manifest says besides sizes, digests and wrapped keys."""

    name: str
    """The bundle's prefix: 1 to 100 of letters, digits, dots, dashes and underscores, a letter or digit first."""
    account: str
    """12 digits."""
    architecture: str
    """`i386` or `x86_64`."""
    type: str = "machine"
    kernel_id: str = ""
    ramdisk_id: str = ""
    kernel_name: str = ""
    block_device_mapping: tuple[tuple[str, str], ...] = ()
    """(virtual, device)."""
    product_codes: tuple[str, ...] = ()
    ancestry: tuple[str, ...] = ()
