"""The `bundle` stage: the image as EC2's encrypted parts and a signed bundle manifest."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """Output: `NAME.part.N` files and `NAME.manifest.xml`. Input: `image`.

    The bytes are random (session key), so an object is known by its key, never by its digest; the result's
    `ciphertext_sha256` names this one. Result: `{"manifest": file name, "parts": count, "size": image bytes,
    "bundled_size": bytes, "deflated_by": library releases, "ciphertext_sha256": hex, "digests": {...}}`.
    """

    VERSION: ClassVar[int] = 1

    name: str
    account: str
    architecture: str
    kernel_id: str
    ramdisk_id: str
    block_device_mapping: tuple[tuple[str, str], ...]
    """(virtual, device), sorted by virtual name: ("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1")."""
    compression: Literal["fast", "small"]
    user_certificate: str
    """SHA-256 fingerprint (hex of the DER's digest); its private key is the secret `private_key`."""
    ec2_certificate: str
    """SHA-256 fingerprint of the region's certificate; the file is found in `surroundings.sources`."""
