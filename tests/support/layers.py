"""Layers written by hand, for stages that need a tree to work on."""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from builder.formats import layer_tar
from builder.formats.layer_tar import Entry, Kind

EPOCH = 1_700_000_000
# cap_net_raw=ep, as the kernel keeps it (VFS_CAP_REVISION_2).
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def directory(path: str, **other: Any) -> tuple[Entry, bytes]:
    return Entry(**{"path": path.encode(), "kind": Kind.DIRECTORY, "mode": 0o755, "mtime": EPOCH, **other}), b""


def file(path: str, data: bytes | str = b"", **other: Any) -> tuple[Entry, bytes]:
    data = data.encode() if isinstance(data, str) else data
    given = {"path": path.encode(), "kind": Kind.FILE, "mode": 0o644, "mtime": EPOCH - 5, "size": len(data), **other}
    return Entry(**given), data


def link(path: str, target: str, kind: Kind = Kind.SYMLINK) -> tuple[Entry, bytes]:
    mode, mtime = (0o777, EPOCH) if kind is Kind.SYMLINK else (0, 0)
    return Entry(path=path.encode(), kind=kind, mode=mode, mtime=mtime, target=target.encode()), b""


def write_layer(place: Path, name: str, entries: Iterable[tuple[Entry, bytes]]) -> tuple[str, Path, dict[str, Any]]:
    """The layer as an input of a stage: its name, its object, its result."""
    sink = io.BytesIO()
    for entry, data in sorted([directory(""), *entries], key=lambda pair: pair[0].path):
        layer_tar.write_header(entry, sink)
        sink.write(data + layer_tar.padding(len(data)))
    sink.write(layer_tar.END)
    place.mkdir(parents=True)
    (place / "layer.tar").write_bytes(sink.getvalue())
    return name, place, {"digest": hashlib.sha256(sink.getvalue()).hexdigest()}


def noise(size: int, seed: str = "") -> bytes:
    """Bytes that do not repeat."""
    return hashlib.shake_128(seed.encode()).digest(size)


def varied_tree() -> list[tuple[Entry, bytes]]:
    """Every kind of entry that an image must keep."""
    return [
        directory("etc"),
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        file("etc/shadow", "root:*:19000::::::\n", mode=0o640, gid=42),
        directory("many"),
        *(file(f"many/{index:04}-{'n' * (index % 200)}", noise(index * 7, str(index))) for index in range(600)),
        file("large", noise(3_000_000), uid=1000, gid=65000, mode=0o4755),
        file("zeros", bytes(2_000_000)),
        file("capable", "x", mode=0o755, xattrs={"security.capability": CAPABILITY, "user.note": b"kept"}),
        link("second-name", "large", Kind.HARD_LINK),
        link("short", "etc/passwd"),
        link("long", "/" + "a/" * 60),
        (Entry(path=b"fifo", kind=Kind.FIFO, mode=0o600, mtime=EPOCH), b""),
    ]
