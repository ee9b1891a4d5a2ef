"""Snapshots of images in the local region: only what changed, killed and resumed, with a network at its worst."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builder.canonical import digest_of
from builder.cloud import session
from builder.cloud.ebs import Direct
from builder.cloud.ebs_download import download
from builder.errors import BuilderError, RegionError
from builder.formats.blocks import BLOCK_SIZE, BlockList, block_digests, parse_blocks
from builder.region.control import Status
from builder.region.course import Course
from builder.region.ec2.region import Region
from builder.stages.contract import Input, Surroundings
from builder.stages.register import run as register
from builder.stages.register.spec import RegisterSpec, RootVolume
from builder.stages.snapshot.journal import unfinished
from tests.support.fault_proxy import Fault, Proxy, chance, faults
from tests.support.faults import faults as told
from tests.support.plans import ROOT
from tests.support.regions import client, region_at, served
from tests.support.snapshot_stage import ACCOUNT, data, make_image, snapshot
from tests.support.workshop import stage_context

BLOCKS = {7 * each: each for each in range(200)}
"""A system of 200 blocks in 1 GiB."""
Lineage = str


@pytest.fixture
def lineage(request: pytest.FixtureRequest) -> Lineage:
    """One for each test: they share a region."""
    return f"{request.node.name}-{time.time_ns()}"


@pytest.fixture
def url(region: Status) -> str:
    return region.endpoint_url


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    """Without faults as long as nobody says otherwise."""
    with faults(url, lambda method, path, headers: None) as made:
        yield made


def direct(url: str, place: Path) -> Direct:
    surroundings = Surroundings(state=place, cache=place, trees=place, endpoint_url=url)
    return Direct(lambda: session.client("ebs", surroundings, "local"))


def content(url: str, snapshot_id: str, place: Path) -> BlockList:
    """The blocks of the volume, as it comes back."""
    file = place / f"{snapshot_id}.img"
    download(direct(url, place), snapshot_id, file, replace=True)
    return blocks_of(file)


def blocks_of(file: Path) -> BlockList:
    with file.open("rb") as read:
        return BlockList(block_digests(read.fileno(), file.stat().st_size))


def digest(image: Path) -> BlockList:
    return parse_blocks((image / "blocks").read_bytes())


def test_the_first_of_a_lineage(work: Path, proxy: Proxy, url: str, ec2: Any, lineage: Lineage) -> None:
    image, notes = make_image(work / "image", BLOCKS), []
    made = snapshot(work, proxy.url, image, lineage, lineage=lineage, note=notes.append)
    why = f"there is no snapshot of the lineage {lineage} yet"
    assert made == {
        "snapshot_id": made["snapshot_id"],
        "volume_size": 1,
        "parent": "",
        "full": why,
        "method": "direct",
        "blocks": hashlib.sha256((image / "blocks").read_bytes()).hexdigest(),
        "blocks_total": 200,
        "blocks_sent": 200,
        "blocks_kept": 0,
        "found": False,
    }
    assert notes == [f"all of the image is sent: {why}"]
    assert proxy.blocks == {(made["snapshot_id"], index): 1 for index in BLOCKS}
    assert content(url, made["snapshot_id"], work) == digest(image)
    (described,) = ec2.describe_snapshots(SnapshotIds=[made["snapshot_id"]])["Snapshots"]
    assert (described["State"], described["VolumeSize"], described["Description"]) == ("completed", 1, "web 1.0")
    assert {each["Key"]: each["Value"] for each in described["Tags"]} == {
        "Name": lineage,
        "team": "blue",
        "ami-factory:key": hashlib.sha256(lineage.encode()).hexdigest(),
        "ami-factory:lineage": lineage,
        "ami-factory:blocks": made["blocks"],
        "ami-factory:parent": "",
        "ami-factory:encryption": "none",
    }
    assert unfinished(work / "state/snapshots") == ()


def test_found_by_its_key(work: Path, proxy: Proxy, lineage: Lineage) -> None:
    image = make_image(work / "image", BLOCKS)
    first = snapshot(work, proxy.url, image, lineage, lineage=lineage)
    proxy.blocks.clear()
    again = snapshot(work / "elsewhere", proxy.url, image, lineage, lineage=lineage)
    assert again == {**first, "found": True, "full": "", "method": "", "blocks_sent": 0}
    assert not proxy.blocks


def test_the_next_of_a_lineage_sends_what_changed(work: Path, proxy: Proxy, url: str, lineage: Lineage) -> None:
    """Two blocks of 200 are others, and one is zero now; then one is back, and nothing else is sent again."""
    first = snapshot(work, proxy.url, make_image(work / "1", BLOCKS), f"{lineage}1", lineage=lineage)
    changed = {**BLOCKS, 0: "new", 7: "new"}
    del changed[14]
    for name, blocks, sent in (
        ("2", changed, {0, 7, 14}),
        ("3", changed, set()),
        ("4", {**changed, 14: BLOCKS[14], 3: "more"}, {14, 3}),
    ):
        proxy.blocks.clear()
        image = make_image(work / name, blocks)
        made = snapshot(work, proxy.url, image, f"{lineage}{name}", lineage=lineage)
        assert (made["parent"], made["full"]) == (first["snapshot_id"], "")
        assert proxy.blocks == {(made["snapshot_id"], index): 1 for index in sent}
        assert made["blocks_sent"] == len(sent)
        assert content(url, made["snapshot_id"], work) == digest(image)
        first = made


def test_a_larger_volume(work: Path, url: str, lineage: Lineage) -> None:
    first = snapshot(work, url, make_image(work / "1", BLOCKS), f"{lineage}1", lineage=lineage)
    image = make_image(work / "2", {**BLOCKS, 4000: "end"}, size=2 << 30)
    made = snapshot(work, url, image, f"{lineage}2", lineage=lineage)
    assert (made["parent"], made["volume_size"], made["blocks_sent"]) == (first["snapshot_id"], 2, 1)
    assert content(url, made["snapshot_id"], work) == digest(image)
    smaller = make_image(work / "3", BLOCKS)
    made = snapshot(work, url, smaller, f"{lineage}3", lineage=lineage)
    assert (made["parent"], made["blocks_sent"]) == (first["snapshot_id"], 0)  # the newest that is not larger


def test_without_the_parents_list_all_is_sent(work: Path, url: str, lineage: Lineage) -> None:
    first = snapshot(work, url, make_image(work / "1", BLOCKS), f"{lineage}1", lineage=lineage)
    (work / "cache/block-lists" / first["blocks"]).unlink()
    notes: list[str] = []
    made = snapshot(
        work, url, make_image(work / "2", {**BLOCKS, 1: "new"}), f"{lineage}2", lineage=lineage, note=notes.append
    )
    why = f"the list of blocks of {first['snapshot_id']} is not on this machine"
    assert (made["parent"], made["blocks_sent"], made["full"]) == ("", 201, why)
    assert notes == [f"all of the image is sent: {why}"]


def test_a_list_that_the_region_does_not_confirm(work: Path, url: str, ec2: Any, lineage: Lineage) -> None:
    """Somebody tags another snapshot with a list that is not its own: nothing is assumed."""
    other = snapshot(work, url, make_image(work / "0", {1: 1}), f"{lineage}0", lineage=f"{lineage}-other")
    first = snapshot(work, url, make_image(work / "1", BLOCKS), f"{lineage}1", lineage=lineage)
    ec2.create_tags(Resources=[first["snapshot_id"]], Tags=[{"Key": "ami-factory:blocks", "Value": other["blocks"]}])
    image = make_image(work / "2", {**BLOCKS, 1: "new"})
    made = snapshot(work, url, image, f"{lineage}2", lineage=lineage)
    assert (made["parent"], made["blocks_sent"]) == ("", 201)
    assert made["full"] == f"{first['snapshot_id']} has other blocks than its list says"
    assert content(url, made["snapshot_id"], work) == digest(image)


def killed(work: Path, proxy: Proxy, image: Path, lineage: Lineage, after: int) -> None:
    """Run the stage in a process, and kill it when the region has taken so many blocks."""
    before = proxy.blocks.total()
    command = [
        sys.executable,
        "-m",
        "tests.support.snapshot_stage",
        work,
        proxy.url,
        image,
        lineage,
        f"lineage={lineage}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while proxy.blocks.total() - before < after:
        assert process.poll() is None, "it was too quick"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_twice_and_resumed(work: Path, proxy: Proxy, url: str, ec2: Any, lineage: Lineage) -> None:
    image = make_image(work / "image", BLOCKS)
    slow = threading.Lock()

    def pace(method: str, path: str, headers: Any) -> None:
        with slow:
            time.sleep(0.005)

    proxy.decide = pace
    for _ in range(2):
        killed(work, proxy, image, lineage, after=50)
    (journal,) = unfinished(work / "state/snapshots")
    acknowledged = len(journal.acknowledged)
    assert 80 <= acknowledged <= 150
    notes: list[str] = []
    made = snapshot(work, proxy.url, image, lineage, lineage=lineage, note=notes.append)
    assert (made["blocks_sent"], made["blocks_kept"]) == (200 - acknowledged, acknowledged)
    assert made["snapshot_id"] == journal.snapshot_id
    assert content(url, made["snapshot_id"], work) == digest(image)
    # Twice went only what was on its way when the process died.
    assert {each for each, _ in proxy.blocks} == {made["snapshot_id"]}
    assert sum(count - 1 for count in proxy.blocks.values()) <= 2 * 16
    filters = [{"Name": "tag:ami-factory:lineage", "Values": [lineage]}]
    assert [each["SnapshotId"] for each in ec2.describe_snapshots(Filters=filters)["Snapshots"]] == [
        made["snapshot_id"]
    ]
    assert unfinished(work / "state/snapshots") == ()


def test_one_request_in_five_fails(work: Path, proxy: Proxy, url: str, lineage: Lineage) -> None:
    image = make_image(work / "1", BLOCKS)
    proxy.decide = chance(0.2, seed=5)
    first = snapshot(work, proxy.url, image, f"{lineage}1", lineage=lineage)
    assert first["blocks_sent"] == 200
    changed = make_image(work / "2", {**BLOCKS, 0: "new"})
    second = snapshot(work, proxy.url, changed, f"{lineage}2", lineage=lineage)
    assert (second["parent"], second["blocks_sent"]) == (first["snapshot_id"], 1)
    file = work / "back.img"
    download(direct(proxy.url, work), second["snapshot_id"], file)
    assert blocks_of(file) == digest(changed)
    assert content(url, first["snapshot_id"], work) == digest(image)
    assert len(proxy.done) == 6, "every kind of fault was met"
    assert proxy.done.total() > proxy.requests / 10


def test_a_checksum_that_is_always_wrong(work: Path, proxy: Proxy, lineage: Lineage) -> None:
    proxy.decide = lambda method, path, headers: Fault.WRONG if method == "PUT" else None
    with pytest.raises(RegionError) as caught:
        snapshot(work, proxy.url, make_image(work / "image", {3: 3}), lineage, lineage=lineage)
    assert "block 3 of snap-" in caught.value.brief
    assert "the region answers with the checksum AAAA" in caught.value.brief
    assert caught.value.hint == "something between here and the region changes what is sent"


def test_an_image_that_was_changed_after_it_was_made(work: Path, url: str, lineage: Lineage) -> None:
    image = make_image(work / "image", BLOCKS)
    with (image / "disk.raw").open("r+b") as file:
        file.seek(7 * BLOCK_SIZE)
        file.write(b"changed")
    with pytest.raises(BuilderError) as caught:
        snapshot(work, url, image, lineage, lineage=lineage)
    assert caught.value.brief == "block 7 of the image is not what its list of blocks says"


def test_credentials_that_expire_in_the_middle(work: Path, proxy: Proxy, url: str, lineage: Lineage) -> None:
    """There are no others, so it ends; with others the next run goes on where it was."""
    image = make_image(work / "image", BLOCKS)
    proxy.decide = lambda method, path, headers: Fault.EXPIRED if proxy.blocks.total() >= 60 else None
    with pytest.raises(RegionError) as caught:
        snapshot(work, proxy.url, image, lineage, lineage=lineage)
    assert caught.value.brief.endswith("your credentials have expired")
    proxy.decide = lambda method, path, headers: None
    made = snapshot(work, proxy.url, image, lineage, lineage=lineage)
    assert (made["blocks_sent"] + made["blocks_kept"], made["blocks_kept"] >= 60) == (200, True)
    assert set(proxy.blocks.values()) == {1}
    assert content(url, made["snapshot_id"], work) == digest(image)


def test_a_snapshot_that_is_gone_is_begun_anew(work: Path, proxy: Proxy, url: str, ec2: Any, lineage: Lineage) -> None:
    image = make_image(work / "image", BLOCKS)
    killed(work, proxy, image, lineage, after=30)
    (journal,) = unfinished(work / "state/snapshots")
    ec2.delete_snapshot(SnapshotId=journal.snapshot_id)
    notes: list[str] = []
    made = snapshot(work, proxy.url, image, lineage, lineage=lineage, note=notes.append)
    assert made["snapshot_id"] != journal.snapshot_id
    assert (made["blocks_sent"], made["blocks_kept"]) == (200, 0)
    assert notes[0] == f"{journal.snapshot_id}, which was begun, is not there any more: another one is begun"
    assert content(url, made["snapshot_id"], work) == digest(image)


def test_two_builders_at_once_make_one_snapshot(work: Path, url: str, ec2: Any, lineage: Lineage) -> None:
    """On two machines: each has a state of its own."""
    image = make_image(work / "image", BLOCKS)
    command = [sys.executable, "-m", "tests.support.snapshot_stage"]
    running = [
        subprocess.Popen(
            [*command, work / name, url, image, lineage, f"lineage={lineage}"], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    told = [json.loads(each.communicate()[0]) for each in running]
    assert [each.returncode for each in running] == [0, 0]
    assert told[0]["snapshot_id"] == told[1]["snapshot_id"]
    filters = [{"Name": "tag:ami-factory:lineage", "Values": [lineage]}]
    assert len(ec2.describe_snapshots(Filters=filters)["Snapshots"]) == 1
    assert content(url, told[0]["snapshot_id"], work) == digest(image)


class TestDownload:
    def test_goes_on_where_it_was(self, work: Path, proxy: Proxy, lineage: Lineage) -> None:
        image = make_image(work / "image", BLOCKS)
        made = snapshot(work, proxy.url, image, lineage, lineage=lineage)
        asked: list[str] = []

        def decide(method: str, path: str, headers: Any) -> Fault | None:
            asked.append(path)
            return Fault.DENIED if len(asked) > 80 else None

        proxy.decide = decide
        file = work / "back.img"
        with pytest.raises(RegionError, match="access denied to GetSnapshotBlock"):
            download(direct(proxy.url, work), made["snapshot_id"], file)
        assert not file.exists()
        proxy.decide = lambda method, path, headers: asked.append(path)  # type: ignore[func-returns-value]
        asked.clear()
        done = download(direct(proxy.url, work), made["snapshot_id"], file)
        assert (done.fetched + done.kept, done.kept > 60) == (200, True)
        assert len([path for path in asked if "blockToken" in path]) == done.fetched
        assert blocks_of(file) == digest(image)
        assert file.stat().st_blocks * 512 < 120 << 20
        assert sorted(path.name for path in work.iterdir() if "back" in path.name) == ["back.img"]

    def test_a_file_that_is_there(self, work: Path, url: str) -> None:
        (work / "back.img").touch()
        with pytest.raises(BuilderError, match=r"back\.img is there already"):
            download(direct(url, work), "snap-00000000", work / "back.img")

    def test_a_part_of_another_snapshot(self, work: Path, url: str, lineage: Lineage) -> None:
        made = snapshot(work, url, make_image(work / "image", {1: 1}), lineage, lineage=lineage)
        (work / "back.img.part").write_bytes(data(9))
        (work / "back.img.part.blocks").write_text("snap-00000000\n1\n")
        done = download(direct(url, work), made["snapshot_id"], work / "back.img")
        assert (done.size, done.blocks, done.fetched, done.kept) == (1 << 30, 1, 1, 0)
        assert (work / "back.img").read_bytes()[:BLOCK_SIZE] == bytes(BLOCK_SIZE)

    def test_no_such_snapshot(self, work: Path, url: str) -> None:
        with pytest.raises(RegionError, match="snap-00000000"):
            download(direct(url, work), "snap-00000000", work / "back.img")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Region, str]]:
    """A region of this process, whose mind can be changed."""
    region = region_at(tmp_path / "region")
    with served(region) as url:
        yield region, url


def test_a_snapshot_that_goes_to_error(own: tuple[Region, str], work: Path) -> None:
    """The upload ends with the reason; the next run makes another one, and removes that."""
    region, url = own
    image = make_image(work / "image", BLOCKS)
    course = Course(begun=time.time(), outcome="error", at=0, reason="Client.InternalError: the key is disabled").text()

    def spoil(what: str, done: int, total: int, unit: str = "bytes") -> None:
        if done:
            with region.state.transaction() as database:
                database.execute("UPDATE snapshots SET course = ?", (course,))

    with pytest.raises(RegionError) as caught:
        snapshot(work, url, image, "key", progress=spoil)
    spoiled = caught.value.brief.partition(" ")[0]
    assert caught.value.brief == f"{spoiled} went to the state error"
    assert caught.value.detail == "Client.InternalError: the key is disabled"
    notes: list[str] = []
    made = snapshot(work, url, image, "key", note=notes.append)
    assert made["snapshot_id"] != spoiled
    assert (made["blocks_sent"], made["blocks_kept"]) == (200, 0)
    assert notes[0].startswith(f"{spoiled}, which was begun, went to the state error (Client.InternalError: ")
    ids = [each["SnapshotId"] for each in client("ec2", url).describe_snapshots(OwnerIds=["self"])["Snapshots"]]
    assert ids == [made["snapshot_id"]]


def test_an_ami_of_a_snapshot_and_back(work: Path, url: str, ec2: Any, lineage: Lineage) -> None:
    """Registered by the stage with all that it can say; its root comes back as the image, by the AMI's id."""
    image = make_image(work / "image", BLOCKS)
    made = snapshot(work, url, image, lineage, lineage=lineage)
    spec = RegisterSpec(
        partition="aws",
        account=ACCOUNT,
        region="local",
        endpoint="local",
        name=f"web {time.time_ns()}",
        description="A web server",
        architecture="x86_64",
        virtualization="hvm",
        kernel_id="",
        ramdisk_id="",
        root_device_name="/dev/xvda",
        block_device_mappings=(("/dev/sdb", "ephemeral0"),),
        tags=(("team", "blue"),),
        volume=RootVolume(size=8, iops=4000, throughput=500, delete_on_termination=False),
        ena=True,
        sriov="simple",
        boot_mode="uefi",
        imds="v2.0",
        tpm="v2.0",
    )
    context = stage_context(
        work, Input(name="snapshot", path=work, result=made), key=digest_of(lineage), endpoint_url=url
    )
    registered = register.run(spec, context)
    assert register.run(spec, context) == {**registered, "found": True}
    (described,) = ec2.describe_images(ImageIds=[registered["image_id"]])["Images"]
    assert described["BlockDeviceMappings"][0] == {
        "DeviceName": "/dev/xvda",
        "Ebs": {
            "SnapshotId": made["snapshot_id"],
            "VolumeType": "gp3",
            "VolumeSize": 8,
            "Iops": 4000,
            "Throughput": 500,
            "DeleteOnTermination": False,
            "Encrypted": False,
        },
    }
    assert described["BlockDeviceMappings"][1] == {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}
    wanted = {
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceType": "ebs",
        "RootDeviceName": "/dev/xvda",
        "EnaSupport": True,
        "SriovNetSupport": "simple",
        "BootMode": "uefi",
        "ImdsSupport": "v2.0",
        "TpmSupport": "v2.0",
        "Description": "A web server",
    }
    assert {name: described.get(name) for name in wanted} == wanted
    command = [Path(sys.executable).with_name("ami-factory"), "snapshot", "download", registered["image_id"]]
    done = subprocess.run(
        [*command, work / "back.img", "--endpoint-url", url, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((ROOT / "builder/cli/schemas/snapshot-download.json").read_text()))
    assert (document["snapshot_id"], document["blocks_fetched"]) == (made["snapshot_id"], 200)
    assert blocks_of(work / "back.img") == digest(image)


@pytest.mark.parametrize("denied", ["StartSnapshot", "PutSnapshotBlock"])
def test_where_the_direct_api_is_denied(own: tuple[Region, str], work: Path, denied: str) -> None:
    """By way of S3, and nothing is left behind; what may list the parent's blocks goes on from there later."""
    _, url = own
    image, notes = make_image(work / "image", BLOCKS), list[str]()
    with told(url, {"fault": "deny", "service": "ebs", "operation": denied}):
        made = snapshot(work, url, image, "key", note=notes.append)
    assert (made["method"], made["parent"], made["full"]) == ("import", "", "the EBS direct API is denied")
    assert any(f"access denied to {denied}" in note and "imported from there" in note for note in notes)
    assert content(url, made["snapshot_id"], work) == digest(image)
    ec2 = client("ec2", url)
    (described,) = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (described["SnapshotId"], described["State"]) == (made["snapshot_id"], "completed")
    assert {"Key": "ami-factory:lineage", "Value": "web-x86_64-hvm-t3.micro"} in described["Tags"]
    bucket = f"ami-factory-{ACCOUNT}-local"
    assert client("s3", url).list_objects_v2(Bucket=bucket).get("KeyCount") == 0
    again = snapshot(work, url, image, "key")
    assert (again["snapshot_id"], again["found"]) == (made["snapshot_id"], True)
    changed = make_image(work / "2", {**BLOCKS, 0: "new"})
    after = snapshot(work, url, changed, "key2")
    assert (after["method"], after["blocks_sent"] in (1, 200)) == ("direct", True)
    assert content(url, after["snapshot_id"], work) == digest(changed)
