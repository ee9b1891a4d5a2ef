"""Images for the snapshot stage, and the stage itself: in this process, or in one that can be killed.

python -m tests.support.snapshot_stage PLACE ENDPOINT IMAGE KEY [FIELD=VALUE ...]     prints the result
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder.formats.blocks import BLOCK_SIZE, block_digests, format_blocks
from builder.stages.contract import Input, StageContext, Surroundings
from builder.stages.snapshot.run import run
from builder.stages.snapshot.spec import SnapshotSpec

ACCOUNT = "123456789012"
SPEC: dict[str, Any] = {
    "partition": "aws",
    "account": ACCOUNT,
    "region": "local",
    "endpoint": "local",
    "description": "web 1.0",
    "encrypted": False,
    "kms_key": "",
    "lineage": "web-x86_64-hvm-t3.micro",
    "tags": (("team", "blue"),),
}


def data(seed: object) -> bytes:
    """A block of bytes that only this seed has."""
    return hashlib.shake_128(repr(seed).encode()).digest(4096) * (BLOCK_SIZE // 4096)


def make_image(place: Path, blocks: Mapping[int, object], *, size: int = 1 << 30) -> Path:
    """`disk.raw` with a block of data for each index, and `blocks`, as the image stage leaves them."""
    place.mkdir(parents=True)
    with (place / "disk.raw").open("wb") as file:
        file.truncate(size)
        for index, seed in blocks.items():
            file.seek(index * BLOCK_SIZE)
            file.write(data(seed))
    with (place / "disk.raw").open("rb") as file:
        (place / "blocks").write_bytes(format_blocks(list(block_digests(file.fileno(), size))))
    return place


def snapshot(
    place: Path,
    endpoint: str,
    image: Path,
    key: str,
    *,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[..., None] = lambda what, done, total, unit="bytes": None,
    **changes: Any,
) -> dict[str, Any]:
    """Run the stage with the state and cache of `place`; `key` is any word."""
    context = StageContext(
        key=hashlib.sha256(key.encode()).hexdigest(),
        inputs=(Input(name="image", path=image, result={}),),
        output=place,
        scratch=place,
        surroundings=Surroundings(state=place / "state", cache=place / "cache", trees=place, endpoint_url=endpoint),
        progress=progress,
        note=note,
    )
    return dict(run(SnapshotSpec(**{**SPEC, **changes}), context))


if __name__ == "__main__":
    where, url, disk, word, *fields = sys.argv[1:]
    given = dict(each.split("=", 1) for each in fields)
    print(json.dumps(snapshot(Path(where), url, Path(disk), word, **given)))
