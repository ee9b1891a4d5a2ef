"""OCI images as documents: which manifest an index leads to, and which layers it has. Nothing is read here.

Source: OCI image-spec 1.1: image-layout.md, image-index.md, manifest.md, descriptor.md, layer.md. Docker's media types
name the same documents.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_DOCUMENT = 4 * 1024**2
"""Bytes; what registries take of a manifest."""
MOST_LAYERS = 500
WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
ARCHITECTURES = {"x86_64": "amd64", "i386": "386"}

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_LAYERS = re.compile(
    r"application/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?"
    r"|docker\.image\.rootfs\.diff\.tar(\.gzip)?)"
)


class OciError(ValueError):
    """Not what the specification says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A descriptor: what it leads to is this and nothing else."""

    sha256: str
    size: int
    index: bool = False

    @property
    def path(self) -> str:
        """In a layout."""
        return f"blobs/sha256/{self.sha256}"


def document(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. OciError for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OciError(f"{what} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise OciError(f"{what} is no JSON object")
    return found


def check_layout(data: bytes) -> None:
    """OciError unless `oci-layout` is of a version that this follows."""
    version = document(data, "oci-layout").get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise OciError(f"oci-layout is of version {str(version)[:40]!r}, and 1.0.0 is known")


def choose(index: Mapping[str, Any], architecture: str) -> Blob:
    """The one manifest (or further index) for an architecture. OciError for none, or for several."""
    written = index.get("manifests")
    found = {}
    others = []
    for each in written if isinstance(written, list) else ():
        if not isinstance(each, dict):
            raise OciError("a descriptor of the index is no JSON object")
        platform = each.get("platform")
        if isinstance(platform, dict):
            said = f"{platform.get('os')}/{platform.get('architecture')}"
            if said != f"linux/{ARCHITECTURES[architecture]}":
                others.append(said)
                continue
        kind = each.get("mediaType", "")
        if kind in (*_INDEXES, *_MANIFESTS):
            found[each.get("digest")] = _blob(each, index=kind in _INDEXES)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise OciError(f"the index has {len(found)} images for {architecture}: keep one in a layout of its own")
    there = f" (it has {', '.join(sorted(set(others))[:10])})" if others else ""
    raise OciError(f"the index has no image for {architecture}{there}")


def layers(manifest: Mapping[str, Any]) -> tuple[Blob, ...]:
    """The layers of a manifest, lowest first."""
    written = manifest.get("layers")
    if not isinstance(written, list) or not written or len(written) > MOST_LAYERS:
        raise OciError(f"the manifest has no list of layers, or one of more than {MOST_LAYERS}")
    found = []
    for each in written:
        if not isinstance(each, dict) or not _LAYERS.fullmatch(str(each.get("mediaType", ""))):
            kind = each.get("mediaType") if isinstance(each, dict) else each
            raise OciError(f"a layer is of the type {str(kind)[:80]!r}, which is no tar of a root tree")
        found.append(_blob(each))
    return tuple(found)


def whiteout(path: bytes) -> tuple[bytes, bool] | None:
    """What a name in a layer hides of the layers below, and whether it is all that is in that directory; None for a
    name that is no whiteout. OciError for one that climbs out of its directory."""
    directory, slash, name = path.rstrip(b"/").rpartition(b"/")
    if name == OPAQUE:
        return directory, True
    if not name.startswith(WHITEOUT):
        return None
    hidden = name.removeprefix(WHITEOUT)
    if hidden in (b"", b".", b"..") or hidden.startswith(WHITEOUT):
        raise OciError(f"a whiteout of {hidden!r}, which is no name in a directory")
    return directory + slash + hidden, False


def _blob(descriptor: Mapping[str, Any], *, index: bool = False) -> Blob:
    digest, size = descriptor.get("digest"), descriptor.get("size")
    found = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if found is None:
        raise OciError(f"{str(digest)[:80]!r} is no sha256 digest")
    if type(size) is not int or size < 0:
        raise OciError(f"{str(size)[:40]!r} is no size")
    return Blob(sha256=found[1], size=size, index=index)
