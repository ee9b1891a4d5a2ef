"""The snapshot stage with a volume of many GiB, as a process of its own, which tells its peak memory.

    python -m tests.support.large_snapshot GIB

Image, lists, journal, crew and checksums are real. The disk is a file with nothing in it, whose list says that every
block is written with zeros; requests are answered here, with pages as EBS gives them, and no block is sent.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from builder.cloud import ebs_wire, session
from builder.cloud.ebs import Direct
from builder.cloud.patience import Patience
from builder.formats.blocks import BLOCK_SIZE, BlockList, format_blocks
from builder.stages.contract import Input, StageContext, Surroundings
from builder.stages.snapshot import lists
from builder.stages.snapshot.direct import Job, make
from builder.stages.snapshot.journal import journal
from builder.stages.snapshot.parent import Parent
from builder.stages.snapshot.spec import SnapshotSpec
from tests.support.snapshot_stage import SPEC

LEFT = 2000
OTHER = "ab" * 32
TOKEN = "AAABAa" + "x" * 90
"""As long as EBS's."""


class Region:
    """Answers what the stage asks of a client of EBS, and of no other."""

    def __init__(self, client: Any, blocks: int) -> None:
        self.meta, self._client_config, self._blocks = client.meta, client._client_config, blocks
        self._request_signer, self._endpoint, self.exceptions = client._request_signer, client._endpoint, None

    def start_snapshot(self, **asked: Any) -> Mapping[str, Any]:
        return {"SnapshotId": "snap-1"}

    def complete_snapshot(self, **asked: Any) -> Mapping[str, Any]:
        assert asked["Checksum"]
        return {}

    def list_snapshot_blocks(self, *, MaxResults: int, NextToken: str = "0", **asked: Any) -> Mapping[str, Any]:
        begin = int(NextToken)
        end = min(begin + MaxResults, self._blocks)
        listed = [{"BlockIndex": index, "BlockToken": f"{TOKEN}{index:09}"} for index in range(begin, end)]
        more = {"NextToken": str(end)} if end < self._blocks else {}
        answer = {"BlockSize": BLOCK_SIZE, "VolumeSize": 1, "Blocks": listed, **more}
        found: dict[str, Any] = json.loads(json.dumps(answer))  # as from the wire: no text twice
        return found


def image(place: Path, gib: int) -> Path:
    place.mkdir()
    with (place / "disk.raw").open("wb") as file:
        file.truncate(gib << 30)
    (place / "blocks").write_bytes(format_blocks(lists.ZEROS for _ in range(gib * lists.BLOCKS_PER_GIB)))
    return place


def job(place: Path, gib: int, disk: Path) -> Job:
    surroundings = Surroundings(state=place, cache=place, trees=place, endpoint_url="http://127.0.0.1:1")
    context = StageContext(
        key="k" * 64,
        inputs=(Input(name="image", path=disk, result={}),),
        output=place,
        scratch=place,
        surroundings=surroundings,
        progress=lambda what, done, total, unit="bytes": None,
        note=lambda text: None,
    )
    return Job(
        spec=SnapshotSpec(**SPEC),
        context=context,
        disk=disk / "disk.raw",
        blocks=lists.read_image_blocks(disk / "blocks", gib << 30),
        size=gib,
        ec2=session.client("ec2", surroundings, "local"),
        lists=place / "lists",
    )


def peak() -> int:
    """Bytes that this program has had at most. Not ru_maxrss, which begins with what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(place: Path, gib: int) -> dict[str, int]:
    from builder.stages.snapshot import direct

    ebs_wire.Wire.put = lambda *_: None  # type: ignore[method-assign]
    direct._is_open = lambda *_: True
    disk, count = image(place / "image", gib), gib * lists.BLOCKS_PER_GIB
    asked = job(place, gib, disk)
    region = Region(session.client("ebs", asked.context.surroundings, "local"), count)
    reached = Direct(lambda: region, patience=Patience(seconds=1))
    before = BlockList([OTHER] * LEFT + [lists.ZEROS] * (count - LEFT))
    digest = lists.keep(asked.lists, before)
    known = lists.find(asked.lists, digest)
    assert known is not None and lists.agrees(known, set(reached.indices("snap-0")))
    known_parent = Parent(id="snap-0", blocks=before, digest=digest)
    vars(direct)["find_parent"] = lambda *_, **__: known_parent
    with journal(place / "second", asked.context.key) as diary:
        second = make(asked, reached, diary, ())
    with journal(place / "resumed", asked.context.key) as diary:
        direct._begin(asked, diary, Parent(blocks=lists.lengthened(BlockList(), gib), why="none"), ())
        diary.started("snap-1")
        for index in range(count - LEFT):
            diary.acknowledge(index, lists.ZEROS)
    with journal(place / "resumed", asked.context.key) as diary:
        resumed = make(asked, reached, diary, ())
    return {"second": second.sent, "resumed": resumed.sent, "kept": resumed.kept, "memory": peak()}


if __name__ == "__main__":
    with TemporaryDirectory() as work:
        print(json.dumps(main(Path(work), int(sys.argv[1]))))
