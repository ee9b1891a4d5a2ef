"""The `base` stage: the root tree of an image that is there already, as the lowest layer."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSpec:
    """Output: `layer.tar`. No inputs.

    Where the image is, `surroundings.sources` says for `pin`: a path, or `s3://BUCKET/KEY` of a bundle's manifest.
    Result: what facts.Facts has, besides the layer's own `digest`, `size` and `entries`.
    """

    VERSION: ClassVar[int] = 1

    kind: str
    """disk (of a file or a device), tar, directory, oci, bundle or snapshot."""
    format: str
    """Of a disk: raw or qcow2; of a tar "" ; of a bundle that its image is raw."""
    pin: str
    """What decides the tree. SHA-256 of the file or device; of a directory's own layer; of an OCI image's manifest; of
    a bundle's manifest. Or the id of a snapshot, which nobody can change."""
    architecture: str
    region: str = later("")
    """Of a bundle in S3 and of a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinSpec:
    """What `lock` asks first; run like a step, its result is not stored.

    Result: `{"kind": ..., "format": ..., "pin": ..., "region": ..., "location": ...}`, as BaseSpec has them.
    """

    VERSION: ClassVar[int] = 1

    location: str
    """A path, `s3://BUCKET/KEY`, or the id of an AMI."""
    sha256: str
    """What the recipe says that it must be; "" for anything."""
    architecture: str
    region: str
