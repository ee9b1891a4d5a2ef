"""Snapshots made over the EBS direct API, as a client would."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

BLOCK = 512 << 10


def block(fill: int) -> bytes:
    """One block, all of whose bytes are that one."""
    return bytes([fill]) * BLOCK


def checksum(content: bytes) -> str:
    return b64encode(hashlib.sha256(content).digest()).decode()


def linear(blocks: Mapping[int, bytes]) -> str:
    """The aggregate checksum of what was put."""
    digests = (hashlib.sha256(blocks[each]).digest() for each in sorted(blocks))
    return b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()


def put(ebs: Any, snapshot_id: str, position: int, content: bytes, **options: Any) -> dict[str, Any]:
    members = {"DataLength": BLOCK, "Checksum": checksum(content), "ChecksumAlgorithm": "SHA256", **options}
    answer = ebs.put_snapshot_block(SnapshotId=snapshot_id, BlockIndex=position, BlockData=content, **members)
    return dict(answer)


def complete(ebs: Any, snapshot_id: str, blocks: Mapping[int, bytes]) -> str:
    answer = ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(blocks),
        Checksum=linear(blocks),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return str(answer["Status"])


def snapshot(ebs: Any, blocks: Mapping[int, bytes], *, size: int = 1, **options: Any) -> str:
    """A completed snapshot of `size` GiB; its id."""
    snapshot_id = str(ebs.start_snapshot(VolumeSize=size, **options)["SnapshotId"])
    for position, content in blocks.items():
        put(ebs, snapshot_id, position, content)
    assert complete(ebs, snapshot_id, blocks) == "completed"
    return snapshot_id


def content_of(ebs: Any, snapshot_id: str) -> dict[int, bytes]:
    """All blocks of a snapshot, each held against its checksum."""
    found: dict[int, bytes] = {}
    options: dict[str, Any] = {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100, **options)
        for each in page["Blocks"]:
            answer = ebs.get_snapshot_block(
                SnapshotId=snapshot_id, BlockIndex=each["BlockIndex"], BlockToken=each["BlockToken"]
            )
            content = answer["BlockData"].read()
            assert (answer["Checksum"], answer["DataLength"]) == (checksum(content), len(content))
            found[each["BlockIndex"]] = content
        if not (token := page.get("NextToken")):
            return found
        options = {"NextToken": token}
