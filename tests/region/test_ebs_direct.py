"""The EBS direct API, as any AWS client sees it: real blocks, parents, checksums, tokens, and what is refused."""

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from builder.region import control
from builder.region.control import Status
from tests.support.regions import client, refused, running
from tests.support.snapshots import BLOCK, block, checksum, complete, content_of, linear, put, snapshot

ACCOUNT = "123456789012"
UNKNOWN = "snap-0123456789abcdef0"


@pytest.fixture(scope="module")
def ebs(region: Status) -> Any:
    return client("ebs", region.endpoint_url, checked=False)


def described(ec2: Any, snapshot_id: str) -> dict[str, Any]:
    (found,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return dict(found)


@contextmanager
def invalid(reason: str) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer.get("Reason")) == ("ValidationException", reason), answer


class TestStart:
    def test_tells_all_that_was_said(self, ebs: Any, ec2: Any) -> None:
        answer = ebs.start_snapshot(
            VolumeSize=3, Description="what it is", Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": ""}]
        )
        snapshot_id, started = answer["SnapshotId"], answer["StartTime"]
        assert re.fullmatch(r"snap-[0-9a-f]{17}", snapshot_id)
        del answer["ResponseMetadata"]
        assert answer == {
            "SnapshotId": snapshot_id,
            "OwnerId": ACCOUNT,
            "Status": "pending",
            "StartTime": started,
            "VolumeSize": 3,
            "BlockSize": BLOCK,
            "Description": "what it is",
            "SseType": "none",
            "Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}],
        }
        assert described(ec2, snapshot_id) == {
            "SnapshotId": snapshot_id,
            "VolumeId": "vol-ffffffff",
            "State": "pending",
            "StartTime": started,
            "Progress": "0%",
            "OwnerId": ACCOUNT,
            "Description": "what it is",
            "VolumeSize": 3,
            "Encrypted": False,
            "StorageTier": "standard",
            "FullSnapshotSizeInBytes": 0,
            "Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}],
        }

    def test_a_client_token_makes_it_once(self, ebs: Any) -> None:
        wanted = {"VolumeSize": 1, "ClientToken": "once-token", "Description": "d"}
        first, second = ebs.start_snapshot(**wanted), ebs.start_snapshot(**wanted)
        assert first["SnapshotId"] == second["SnapshotId"]
        with refused("ConflictException"):
            ebs.start_snapshot(**{**wanted, "VolumeSize": 2})

    def test_one_token_at_once_makes_one(self, ebs: Any) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: ebs.start_snapshot(VolumeSize=1, ClientToken="many-at-once"), range(8))
        assert len({each["SnapshotId"] for each in answers}) == 1

    def test_encryption(self, ebs: Any, ec2: Any) -> None:
        key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        answer = ebs.start_snapshot(VolumeSize=1, Encrypted=True, KmsKeyArn=key)
        assert (answer["KmsKeyArn"], answer["SseType"]) == (key, "sse-kms")
        found = described(ec2, answer["SnapshotId"])
        assert (found["Encrypted"], found["KmsKeyId"]) == (True, key)
        default = ebs.start_snapshot(VolumeSize=1, Encrypted=True)["KmsKeyArn"]
        assert default.startswith(f"arn:aws:kms:us-east-1:{ACCOUNT}:key/")
        with invalid("INVALID_PARAMETER_VALUE"):
            ebs.start_snapshot(VolumeSize=1, KmsKeyArn=key)
        with invalid("INVALID_PARAMETER_VALUE"):
            ebs.start_snapshot(VolumeSize=1, Encrypted=True, KmsKeyArn="alias/key")

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            pytest.param({"VolumeSize": 65537}, "INVALID_VOLUME_SIZE", id="too large"),
            pytest.param({"VolumeSize": 1, "Timeout": 5000}, "INVALID_PARAMETER_VALUE", id="too patient"),
            pytest.param({"VolumeSize": 1, "Description": "d" * 256}, "INVALID_PARAMETER_VALUE", id="too long"),
            pytest.param({"VolumeSize": 1, "ParentSnapshotId": "vol-1"}, "INVALID_PARAMETER_VALUE", id="not an id"),
            pytest.param({"VolumeSize": 1, "Tags": [{"Key": "aws:x", "Value": ""}]}, "INVALID_TAG", id="reserved tag"),
            pytest.param(
                {"VolumeSize": 1, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
                "INVALID_TAG",
                id="a tag twice",
            ),
        ],
    )
    def test_refusals(self, wanted: dict[str, Any], reason: str, ebs: Any) -> None:
        with invalid(reason):
            ebs.start_snapshot(**wanted)


class TestPut:
    def test_what_was_put_is_what_is_read(self, ebs: Any, ec2: Any) -> None:
        blocks = {0: os.urandom(BLOCK), 7: block(0), 2047: os.urandom(BLOCK)}
        snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        for position, content in blocks.items():
            answer = put(ebs, snapshot_id, position, content, Progress=position * 100 // 2047)
            assert (answer["Checksum"], answer["ChecksumAlgorithm"]) == (checksum(content), "SHA256")
        assert described(ec2, snapshot_id)["Progress"] == "99%"
        assert complete(ebs, snapshot_id, blocks) == "completed"
        found = described(ec2, snapshot_id)
        assert (found["State"], found["Progress"]) == ("completed", "100%")
        assert found["FullSnapshotSizeInBytes"] == 3 * BLOCK
        assert content_of(ebs, snapshot_id) == blocks

    def test_what_is_put_again_is_replaced(self, ebs: Any, region: Status) -> None:
        snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        first, second = os.urandom(BLOCK), os.urandom(BLOCK)
        put(ebs, snapshot_id, 5, first)
        put(ebs, snapshot_id, 5, second)
        complete(ebs, snapshot_id, {5: second})
        assert content_of(ebs, snapshot_id) == {5: second}
        assert not list((region.directory / "state" / "blobs").glob(f"??/{checksum_hex(first)}"))

    @pytest.mark.parametrize(
        ("position", "content", "options", "reason"),
        [
            pytest.param(0, block(1), {"Checksum": checksum(block(2))}, "INVALID_PARAMETER_VALUE", id="checksum"),
            pytest.param(0, block(1), {"Checksum": "not a digest"}, "INVALID_PARAMETER_VALUE", id="no checksum"),
            pytest.param(0, block(1)[1:], {}, "INVALID_PARAMETER_VALUE", id="a byte too few"),
            pytest.param(0, block(1) + b"x", {}, "INVALID_PARAMETER_VALUE", id="a byte too many"),
            pytest.param(0, b"", {}, "INVALID_PARAMETER_VALUE", id="nothing"),
            pytest.param(0, block(1), {"DataLength": 4096}, "INVALID_PARAMETER_VALUE", id="another length"),
            pytest.param(0, block(1), {"ChecksumAlgorithm": "MD5"}, "INVALID_PARAMETER_VALUE", id="another algorithm"),
            pytest.param(0, block(1), {"Progress": 101}, "INVALID_PARAMETER_VALUE", id="more than all"),
            pytest.param(2048, block(1), {}, "INVALID_BLOCK", id="behind the end"),
        ],
    )
    def test_refusals(self, position: int, content: bytes, options: Any, reason: str, ebs: Any) -> None:
        snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        with invalid(reason):
            put(ebs, snapshot_id, position, content, **options)
        complete(ebs, snapshot_id, {})
        assert content_of(ebs, snapshot_id) == {}

    def test_unknown_and_completed(self, ebs: Any) -> None:
        with refused("ResourceNotFoundException"):
            put(ebs, UNKNOWN, 0, block(1))
        with invalid("INVALID_SNAPSHOT_ID"):
            put(ebs, snapshot(ebs, {}), 0, block(1))

    def test_many_at_once(self, ebs: Any, region: Status) -> None:
        """From many connections, the same block among them: what is there in the end is what one of them sent."""
        own = client("ebs", region.endpoint_url, checked=False, max_pool_connections=16)
        snapshot_id = own.start_snapshot(VolumeSize=1)["SnapshotId"]
        blocks = {position: os.urandom(BLOCK) for position in range(32)}
        rivals = [os.urandom(BLOCK) for _ in range(16)]

        def rival(content: bytes) -> bytes | None:
            try:
                put(own, snapshot_id, 99, content)
            except ClientError as error:
                assert "CONFLICTING_BLOCK_UPDATE" in error.response.values()
                return None
            return content

        with ThreadPoolExecutor(16) as pool:
            puts = [pool.submit(put, own, snapshot_id, *each) for each in blocks.items()]
            contents = set(pool.map(rival, rivals)) - {None}
            for each in puts:
                each.result()
        put(own, snapshot_id, 98, block(3))
        with invalid("INVALID_PARAMETER_VALUE"):
            complete(own, snapshot_id, blocks)
        own.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=34)
        found = content_of(own, snapshot_id)
        assert found.pop(99) in contents
        assert found == {**blocks, 98: block(3)}


def checksum_hex(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


class TestComplete:
    def test_wrong_count_and_checksum_leave_it_pending(self, ebs: Any, ec2: Any) -> None:
        snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        put(ebs, snapshot_id, 1, block(1))
        options = {"ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}
        for wrong in (
            {"ChangedBlocksCount": 2},
            {"ChangedBlocksCount": 1, "Checksum": linear({1: block(2)}), **options},
            {"ChangedBlocksCount": 1, "Checksum": linear({1: block(1)})},
        ):
            with invalid("INVALID_PARAMETER_VALUE"):
                ebs.complete_snapshot(SnapshotId=snapshot_id, **wrong)
        assert described(ec2, snapshot_id)["State"] == "pending"
        assert complete(ebs, snapshot_id, {1: block(1)}) == "completed"

    def test_twice(self, ebs: Any) -> None:
        snapshot_id = snapshot(ebs, {1: block(1)})
        with invalid("INVALID_SNAPSHOT_ID"):
            ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
        with refused("ResourceNotFoundException"):
            ebs.complete_snapshot(SnapshotId=UNKNOWN, ChangedBlocksCount=1)


class TestParent:
    def test_a_child_has_what_its_parent_has(self, ebs: Any) -> None:
        parent = snapshot(ebs, {0: block(1), 1: block(2), 2: block(3)})
        answer = ebs.start_snapshot(VolumeSize=2, ParentSnapshotId=parent)
        assert answer["ParentSnapshotId"] == parent
        child, sent = answer["SnapshotId"], {1: block(0), 3000: block(5)}
        for position, content in sent.items():
            put(ebs, child, position, content)
        assert complete(ebs, child, sent) == "completed"
        assert content_of(ebs, child) == {0: block(1), 1: block(0), 2: block(3), 3000: block(5)}
        assert content_of(ebs, parent) == {0: block(1), 1: block(2), 2: block(3)}

    def test_a_child_outlives_its_parent(self, ebs: Any, ec2: Any) -> None:
        content = os.urandom(BLOCK)
        parent = snapshot(ebs, {4: content})
        child = snapshot(ebs, {}, ParentSnapshotId=parent)
        ec2.delete_snapshot(SnapshotId=parent)
        assert content_of(ebs, child) == {4: content}

    def test_encryption_is_inherited(self, ebs: Any) -> None:
        parent = snapshot(ebs, {}, Encrypted=True)
        answer = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=parent)
        assert (answer["SseType"], "KmsKeyArn" in answer) == ("sse-kms", True)
        with invalid("INVALID_PARAMETER_VALUE"):
            ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=parent, Encrypted=True)

    def test_refusals(self, ebs: Any) -> None:
        with refused("ResourceNotFoundException"):
            ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=UNKNOWN)
        with invalid("INVALID_VOLUME_SIZE"):
            ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=snapshot(ebs, {}, size=2))
        pending = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        with invalid("INVALID_SNAPSHOT_ID"):
            ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=pending)


class TestRead:
    def test_pages_and_where_they_begin(self, ebs: Any) -> None:
        blocks = {position: block(position % 251) for position in range(250)}
        snapshot_id = snapshot(ebs, blocks)
        first = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100, StartingBlockIndex=30)
        assert (first["VolumeSize"], first["BlockSize"]) == (1, BLOCK)
        assert [each["BlockIndex"] for each in first["Blocks"]] == list(range(30, 130))
        rest = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, NextToken=first["NextToken"])
        assert [each["BlockIndex"] for each in rest["Blocks"]] == list(range(130, 250))
        assert "NextToken" not in rest
        assert content_of(ebs, snapshot_id) == blocks

    def test_changed_blocks(self, ebs: Any) -> None:
        parent = snapshot(ebs, {0: block(1), 1: block(2), 2: block(3)})
        child = snapshot(ebs, {1: block(9), 2: block(3), 6: block(6)}, ParentSnapshotId=parent)
        answer = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)
        found = {
            each["BlockIndex"]: ("FirstBlockToken" in each, "SecondBlockToken" in each)
            for each in answer["ChangedBlocks"]
        }
        assert found == {1: (True, True), 6: (False, True)}
        token = answer["ChangedBlocks"][0]["SecondBlockToken"]
        content = ebs.get_snapshot_block(SnapshotId=child, BlockIndex=1, BlockToken=token)["BlockData"].read()
        assert content == block(9)
        with invalid("UNRELATED_SNAPSHOTS"):
            ebs.list_changed_blocks(FirstSnapshotId=snapshot(ebs, {}), SecondSnapshotId=child)
        with invalid("INVALID_PARAMETER_VALUE"):
            ebs.list_changed_blocks(SecondSnapshotId=child)

    def test_refusals(self, ebs: Any) -> None:
        snapshot_id, other = snapshot(ebs, {0: block(1), 1: block(2)}), snapshot(ebs, {0: block(1)})
        (token, *_) = (each["BlockToken"] for each in ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"])
        for wrong in (
            {"SnapshotId": snapshot_id, "BlockIndex": 1, "BlockToken": token},
            {"SnapshotId": other, "BlockIndex": 0, "BlockToken": token},
            {"SnapshotId": snapshot_id, "BlockIndex": 0, "BlockToken": "AAAA"},
            {"SnapshotId": snapshot_id, "BlockIndex": 0, "BlockToken": f"{token[:-4]}AAAA"},
        ):
            with invalid("INVALID_BLOCK_TOKEN"):
                ebs.get_snapshot_block(**wrong)
        with invalid("INVALID_BLOCK"):
            ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=7, BlockToken=token)
        with invalid("INVALID_PAGE_TOKEN"):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id, NextToken=token)
        with refused("ResourceNotFoundException"):
            ebs.list_snapshot_blocks(SnapshotId=UNKNOWN)
        with invalid("INVALID_SNAPSHOT_ID"):
            ebs.list_snapshot_blocks(SnapshotId=ebs.start_snapshot(VolumeSize=1)["SnapshotId"])


class TestDescribe:
    def test_filters_and_owners(self, ebs: Any, ec2: Any) -> None:
        tags = [{"Key": "ami-factory:lineage", "Value": "web-hvm"}]
        one, two = (snapshot(ebs, {}, size=size, Tags=tags) for size in (1, 2))
        by_tag = {"Name": "tag:ami-factory:lineage", "Values": ["web-hvm"]}

        def ids(*filters: Any, **options: Any) -> set[str]:
            answer = ec2.describe_snapshots(Filters=[by_tag, *filters], **options)
            return {each["SnapshotId"] for each in answer["Snapshots"]}

        assert ids(OwnerIds=["self"]) == ids(OwnerIds=[ACCOUNT]) == ids() == {one, two}
        assert ids(OwnerIds=["amazon"]) == set()
        assert ids({"Name": "volume-size", "Values": ["2"]}) == {two}
        assert ids({"Name": "status", "Values": ["completed"]}, {"Name": "snapshot-id", "Values": [one]}) == {one}
        with refused("InvalidParameterValue"):
            ids({"Name": "nonsense", "Values": ["1"]})

    def test_tags_come_and_go(self, ebs: Any, ec2: Any) -> None:
        snapshot_id = snapshot(ebs, {})
        ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        ec2.delete_tags(Resources=[snapshot_id], Tags=[{"Key": "a"}])
        assert described(ec2, snapshot_id)["Tags"] == [{"Key": "b", "Value": "2"}]
        with refused("InvalidSnapshot.NotFound"):
            ec2.create_tags(Resources=[UNKNOWN], Tags=[{"Key": "a", "Value": "1"}])

    def test_deleted(self, ebs: Any, ec2: Any, region: Status) -> None:
        content = os.urandom(BLOCK)
        snapshot_id = snapshot(ebs, {3: content})
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        for call in (ec2.delete_snapshot, lambda SnapshotId: ec2.describe_snapshots(SnapshotIds=[SnapshotId])):
            with refused("InvalidSnapshot.NotFound"):
                call(SnapshotId=snapshot_id)
        with refused("InvalidParameterValue"):
            ec2.delete_snapshot(SnapshotId="snap-x")
        assert not list((region.directory / "state" / "blobs").glob(f"??/{checksum_hex(content)}"))


def test_regions_know_nothing_of_each_other(ebs: Any, region: Status) -> None:
    import boto3

    there = boto3.client(
        "ebs",
        region_name="local-2",
        endpoint_url=region.endpoint_url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    here, elsewhere = snapshot(ebs, {0: block(1)}), snapshot(there, {0: block(2)})
    with refused("ResourceNotFoundException"):
        ebs.list_snapshot_blocks(SnapshotId=elsewhere)
    with refused("ResourceNotFoundException"):
        there.list_snapshot_blocks(SnapshotId=here)


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    blocks = {position: os.urandom(BLOCK) for position in range(3)}
    with running(tmp_path) as status:
        ebs = client("ebs", status.endpoint_url, checked=False)
        finished = snapshot(ebs, blocks)
        token = ebs.list_snapshot_blocks(SnapshotId=finished)["Blocks"][1]["BlockToken"]
        begun = ebs.start_snapshot(VolumeSize=1, ClientToken="t")["SnapshotId"]
        put(ebs, begun, 1, blocks[1])
        os.kill(status.pid, signal.SIGKILL)
        status = control.start(tmp_path)
        ebs = client("ebs", status.endpoint_url, checked=False)
        assert content_of(ebs, finished) == blocks
        assert ebs.get_snapshot_block(SnapshotId=finished, BlockIndex=1, BlockToken=token)["DataLength"] == BLOCK
        assert ebs.start_snapshot(VolumeSize=1, ClientToken="t")["SnapshotId"] == begun
        put(ebs, begun, 2, blocks[2])
        assert complete(ebs, begun, {1: blocks[1], 2: blocks[2]}) == "completed"
