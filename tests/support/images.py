"""Existing images for the stage `base`: a small root tree as a directory, a tar, an OCI layout, and run as the worker
would."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from builder.stages.base import resolve, run
from builder.stages.base.spec import BaseSpec, PinSpec
from builder.stages.contract import StageContext, Surroundings

OS_RELEASE = 'ID=tiny\nVERSION_ID="1"\nPRETTY_NAME="Tiny 1"\n'
DPKG = """\
Package: tiny
Status: install ok installed
Version: 1:2.0-3

Package: gone
Status: deinstall ok config-files
"""
# An x86-64 program, as far as its header.
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0"

TREE: dict[str, bytes | str] = {
    "etc/os-release": OS_RELEASE,
    "etc/hostname": "tiny\n",
    "usr/bin/dash": PROGRAM,
    "var/lib/dpkg/status": DPKG,
}


def context(place: Path, sources: Mapping[str, str] | None = None, **other: Any) -> StageContext:
    """Empty directories below `place`, and notes in a list."""
    for name in ("output", "scratch", "state", "cache"):
        (place / name).mkdir(parents=True)
    return StageContext(
        key="0" * 64,
        inputs=(),
        output=place / "output",
        scratch=place / "scratch",
        surroundings=Surroundings(
            state=place / "state",
            cache=other.pop("cache", place / "cache"),
            trees=place / "trees",
            sources=sources or {},
            **other,
        ),
        progress=lambda what, done, total, unit="bytes": None,
        note=[].append,
    )


def taken(location: Path | str, place: Path, *, architecture: str = "x86_64", **other: Any) -> dict[str, Any]:
    """What the stage says of an image, pinned first as `lock` does; with its notes, and what the pin was."""
    asked = PinSpec(location=str(location), sha256="", architecture=architecture, region="local")
    pinned = dict(resolve.run(asked, context(place / "pin", **other)))
    spec = BaseSpec(
        kind=pinned["kind"],
        format=pinned["format"],
        pin=pinned["pin"],
        architecture=architecture,
        region=pinned["region"],
    )
    where = context(place / "base", {pinned["pin"]: pinned["location"] or str(location)}, **other)
    return {**run.run(spec, where), "pinned": pinned, "notes": where.note.__self__}


def directory(place: Path, tree: Mapping[str, bytes | str] = TREE) -> Path:
    for name, data in tree.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    (place / "usr/bin/sh").symlink_to("dash")
    return place


def member(name: str, data: bytes | str = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    data = data.encode() if isinstance(data, str) else data
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), 1_700_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tree_members() -> list[tuple[tarfile.TarInfo, bytes]]:
    """TREE, and a shell."""
    return [
        *(member(name, data) for name, data in TREE.items()),
        member("usr/bin/sh", type=tarfile.SYMTYPE, linkname="dash"),
    ]


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]], *, format: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def layout(place: Path, layers: Iterable[bytes], *, architecture: str = "amd64") -> Path:
    """An OCI layout of these layers, which are tars, packed with gzip."""

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (place / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    (place / "blobs/sha256").mkdir(parents=True)
    config = blob(json.dumps({"architecture": architecture, "os": "linux"}).encode(), "config.v1+json")
    packed = [blob(gzip.compress(each, mtime=0), "layer.v1.tar+gzip") for each in layers]
    manifest = blob(
        json.dumps({"schemaVersion": 2, "config": config, "layers": packed}).encode(), "manifest.v1+json"
    ) | {"platform": {"os": "linux", "architecture": architecture}}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return place
