"""What the lint of a bundle knows: facts, read once by `observe`, and judged by `lint` without looking again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Bucket", "File", "KernelImage", "Observed", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelImage:
    """A kernel image (AKI), and a region that has it."""

    id: str
    region: str
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a bundle is to be registered with."""

    region: str
    """An AWS region, or `local`."""
    account: str = ""
    """12 digits; "" when nothing says whose it shall be."""
    certificate: str = ""
    """SHA-256 fingerprint of the certificate that EC2 has in this region; "" for a region without a published one."""
    modulus: int = 0
    """Of that certificate's RSA key; 0 when there is none."""
    kernels: tuple[KernelImage, ...] = ()
    """The kernel images that are known, here and elsewhere. There are others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file beside the manifest, or an object below its prefix; a value that is None or "" is not known."""

    size: int
    sha1: str = ""
    """Known without reading it (S3's checksum), or because it was read."""
    encryption: str = ""
    """How S3 encrypts it: AES256, aws:kms, ..."""
    archived: str = ""
    """A storage class that nothing is read from without restoring it first."""
    grants: tuple[tuple[str, str], ...] | None = None
    """(grantee's id or group, permission), as its access control list has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Of a bucket, what decides who may read its objects."""

    name: str
    region: str
    partition: str = "aws"
    ownership: str | None = None
    """Object Ownership; "" when none is set, which is as ObjectWriter; None when it may not be asked."""
    ignores_public: bool | None = None
    """Whether the public access block makes public access control lists count for nothing."""
    restricts_public: bool | None = None
    """Whether the public access block keeps all others out as soon as the policy is public."""
    policy: str | None = None
    """The policy's JSON; "" when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A bundle, as far as it was looked at; None stands for what was not looked at, or could not be."""

    where: str
    """The manifest: a path, or bucket/key."""
    manifest: bytes = field(repr=False)
    encrypted: bool = False
    """The file itself is encrypted, as the very first tools did; `manifest` is what was in it."""
    files: Mapping[str, File] | None = None
    """What lies beside the manifest, by name; the manifest too where it is in S3."""
    signed: bool | None = None
    """Whether the user's certificate signed it."""
    opens: bool | None = None
    """Whether the user's private key opens it."""
    opens_for_ec2: bool | None = None
    """Whether the region's own key opens it: the local region's can be tried, EC2's cannot."""
    made_for: str = ""
    """Fingerprint of the EC2 certificate that it was made for, where a record of its build says so."""
    kernel: KernelImage | None = None
    """The manifest's kernel as the region describes it."""
    kernel_asked: bool = False
    """The region was asked about the kernel; without `kernel` it has none of that id."""
    fault: str | None = None
    """What is wrong with the parts' contents, all of which were read; "" when nothing is."""
    bucket: Bucket | None = None
