"""What the region's process may go through: SIGKILL at any moment, races, stale files, other regions."""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from builder.errors import RegionError
from builder.region import control, server
from builder.region.identity import identity
from builder.region.layout import Layout
from builder.region.wishes import Wishes
from tests.support.bundles import make_bundle
from tests.support.regions import client

ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "region"
    yield place
    control.stop(place)


def content_of(key: str) -> bytes:
    """Each key has its own bytes, and equal bytes occur under several keys."""
    number = int(key.rpartition("-")[2]) % 7
    return random.Random(number).randbytes(200_000 + number * 100_000)


class Load:
    """Clients that put objects and register images as fast as they can, and remember what was answered."""

    def __init__(self, endpoint_url: str, location: str, round_: int) -> None:
        self._endpoint_url, self._location, self._round = endpoint_url, location, round_
        self.put: set[str] = set()
        self.deleted: set[str] = set()
        self.registered: dict[str, str] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(each,)) for each in self._jobs()]

    def _jobs(self) -> list[Any]:
        return [self._put, self._put, self._register]

    def _guard(self, job: Any) -> None:
        s3, ec2 = client("s3", self._endpoint_url), client("ec2", self._endpoint_url)
        for number in itertools.count():
            if self._stop.is_set():
                return
            try:
                job(s3, ec2, f"{self._round}-{threading.get_ident()}-{number}")
            except (BotoCoreError, HTTPClientError, ConnectionError, ClientError) as error:
                assert self._stop.wait(5), error
                return

    def _put(self, s3: Any, ec2: Any, name: str) -> None:
        del ec2
        s3.put_object(Bucket="bucket", Key=name, Body=content_of(name))
        self.put.add(name)
        if int(name.rpartition("-")[2]) % 3 == 0:
            self.deleted.add(name)
            s3.delete_object(Bucket="bucket", Key=name)

    def _register(self, s3: Any, ec2: Any, name: str) -> None:
        del s3
        tags = [{"ResourceType": "image", "Tags": [{"Key": "name", "Value": name}]}]
        answer = ec2.register_image(Name=name, ImageLocation=self._location, TagSpecifications=tags)
        self.registered[answer["ImageId"]] = name

    def run(self, puts: int, images: int, kill: int, later: float) -> None:
        """SIGKILL some milliseconds after so many answers, in the middle of whatever is under way then."""
        for each in self._threads:
            each.start()
        deadline = time.monotonic() + 60
        while (len(self.put) < puts or len(self.registered) < images) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(later)
        os.kill(kill, signal.SIGKILL)
        self._stop.set()
        for each in self._threads:
            each.join()


def test_what_was_answered_survives_sigkill(directory: Path, tmp_path: Path) -> None:
    status = control.start(directory)
    s3 = client("s3", status.endpoint_url)
    s3.create_bucket(Bucket="bucket", ObjectOwnership="ObjectWriter")
    bundle = make_bundle(tmp_path, identity(directory).certificate)
    for name, content in bundle.files().items():
        s3.put_object(Bucket="bucket", Key=f"bundle/{name}", Body=content, ACL="aws-exec-read")
    put: set[str] = set()
    deleted: set[str] = set()
    registered: dict[str, str] = {}
    for round_, later in enumerate((0, 0.013, 0.034, 0.061)):
        status = control.start(directory)
        load = Load(status.endpoint_url, f"bucket/bundle/{bundle.manifest_name}", round_)
        load.run(8, 4, status.pid, later)
        put |= load.put
        deleted |= load.deleted
        registered |= load.registered
    assert (len(put) >= 32, len(registered) >= 16) == (True, True)

    status = control.start(directory)
    s3, ec2 = client("s3", status.endpoint_url), client("ec2", status.endpoint_url)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    found = {each["Key"]: each["ETag"] for page in pages for each in page["Contents"]}
    assert put - deleted <= found.keys()
    for key, etag in found.items():
        if not key.startswith("bundle/"):
            read = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
            assert (read == content_of(key), etag) == (True, f'"{hashlib.md5(read).hexdigest()}"')
    images = {each["ImageId"]: each for each in ec2.describe_images(Owners=["self"])["Images"]}
    assert registered == {each: images[each]["Name"] for each in registered}
    # A request that was cut off registered all or nothing.
    for image in images.values():
        assert (image["Tags"], image["KernelId"]) == ([{"Key": "name", "Value": image["Name"]}], "aki-919dcaf8")
    assert_no_orphans(directory)


def assert_no_orphans(directory: Path) -> None:
    state = directory / "state"
    with sqlite3.connect(state / "region.sqlite") as database:
        named = {row[0] for row in database.execute("SELECT blob FROM pieces UNION SELECT blob FROM parts")}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    files = {each.name: each for each in (state / "blobs").glob("*/*")}
    assert files.keys() == named
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    assert list((state / "incoming").iterdir()) == []


def test_removed_bytes_are_removed(directory: Path) -> None:
    s3 = client("s3", control.start(directory).endpoint_url)
    s3.create_bucket(Bucket="bucket")
    for key in ("a", "b"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"same")
    s3.put_object(Bucket="bucket", Key="c", Body=b"other")
    s3.put_object(Bucket="bucket", Key="c", Body=b"newer")
    assert len(list((directory / "state/blobs").glob("*/*"))) == 2
    s3.delete_object(Bucket="bucket", Key="a")
    assert s3.get_object(Bucket="bucket", Key="b")["Body"].read() == b"same"
    s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "b"}, {"Key": "c"}]})
    assert_no_orphans(directory)
    assert list((directory / "state/blobs").glob("*/*")) == []


def test_equal_bytes_put_and_deleted_at_once(directory: Path) -> None:
    """One file stands for all: a delete must not take it from under a put."""
    s3 = client("s3", control.start(directory).endpoint_url)
    s3.create_bucket(Bucket="bucket")

    def turn(number: int) -> None:
        key = f"k{number % 4}"
        s3.put_object(Bucket="bucket", Key=key, Body=b"same")
        if number % 2:
            s3.delete_object(Bucket="bucket", Key=key)
        elif number % 4 == 2:
            try:
                assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == b"same"
            except ClientError as error:
                assert error.response["Error"]["Code"] == "NoSuchKey"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(turn, range(400)))
    assert_no_orphans(directory)


def test_start_stop_and_what_stays(directory: Path) -> None:
    assert control.status(directory) is None
    assert control.stop(directory) is False
    first = control.start(directory)
    assert control.start(directory) == first == control.status(directory)
    assert (first.id, first.account) == (identity(directory).id, "123456789012")
    client("s3", first.endpoint_url).create_bucket(Bucket="bucket")
    assert control.stop(directory) is True
    assert control.status(directory) is None
    again = control.start(directory)
    assert (again.endpoint_url, again.id, again.buckets) == (first.endpoint_url, first.id, 1)
    assert again.pid != first.pid
    control.reset(directory)
    assert control.status(directory) is None
    empty = control.start(directory)
    assert (empty.id, empty.buckets, empty.endpoint_url) == (first.id, 0, first.endpoint_url)
    assert identity(directory).fingerprint == identity(directory).fingerprint


def test_the_daemon_is_detached(directory: Path, tmp_path: Path) -> None:
    with (tmp_path / "inherited").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        pid = control.start(directory).pid
        opened = []
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the daemon is alive, and may just have closed it
                opened.append(each.readlink())
        assert tmp_path / "inherited" not in opened
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    log = directory / "region.log"
    assert {Path(f"/proc/{pid}/fd/{number}").readlink() for number in (1, 2)} == {log}
    assert os.getsid(pid) == pid
    assert os.getppid() != pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    modes = {each.name: each.stat().st_mode & 0o777 for each in (directory, log, identity(directory).private_key)}
    assert modes == {"region": 0o700, "region.log": 0o600, "private-key.pem": 0o600}
    assert {each.stat().st_mode & 0o077 for each in (directory / "state").iterdir()} == {0}


def test_many_starters_one_region(directory: Path) -> None:
    script = "import sys; from pathlib import Path; from builder.region import control; "
    script += "print(control.start(Path(sys.argv[1])).pid)"
    command = [sys.executable, "-c", script, str(directory)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(5)]
    pids = {each.communicate(timeout=60)[0].strip() for each in started}
    assert len(pids) == 1
    assert [each.returncode for each in started] == [0] * 5


def test_after_sigkill_it_starts_again_on_its_port(directory: Path) -> None:
    first = control.start(directory)
    os.kill(first.pid, signal.SIGKILL)
    again = control.start(directory)
    assert (again.endpoint_url, again.pid != first.pid) == (first.endpoint_url, True)


def test_two_regions_are_told_apart(directory: Path, tmp_path: Path) -> None:
    """The second one finds its port taken by the first and takes another; neither is taken for the other."""
    first = control.start(directory)
    other = tmp_path / "other"
    other.mkdir()
    port = int(first.endpoint_url.rpartition(":")[2])
    (other / "port").write_text(str(port))
    (other / "daemon.json").write_text(json.dumps({"port": port, "pid": first.pid, "since": ""}))
    assert control.status(other) is None
    assert control.stop(other) is False
    try:
        second = control.start(other)
        assert second.endpoint_url != first.endpoint_url
        assert second.id != first.id
        assert control.status(directory) == first
    finally:
        control.stop(other)


def test_a_port_that_is_taken(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RegionError) as caught:
            control.start(directory, Wishes(port=port))
    assert f"port {port} of 127.0.0.1 cannot be had" in caught.value.brief
    assert "Traceback" in caught.value.detail
    assert str(directory / "region.log") in caught.value.hint
    status = control.start(directory, Wishes(port=port))
    assert status.endpoint_url == f"http://127.0.0.1:{port}"
    with pytest.raises(RegionError, match=r"not on port 1$"):
        control.start(directory, Wishes(port=1))


def test_stale_files(directory: Path) -> None:
    directory.mkdir()
    (directory / "daemon.json").write_text("rubbish")
    (directory / "daemon.lock").write_text(str(os.getpid()))
    (directory / "port").write_text("99999999")
    assert control.status(directory) is None
    assert control.stop(directory) is False
    assert control.start(directory).pid != os.getpid()


def test_looking_does_not_keep_a_region_from_starting(directory: Path) -> None:
    """Who looks whether a daemon holds the directory has the lock for an instant."""
    directory.mkdir(parents=True)
    with (directory / "daemon.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(server._lock, Layout(directory))
            time.sleep(0.1)
            fcntl.flock(lock, fcntl.LOCK_UN)
            with starting.result() as held:
                assert Path(held.name).read_text() == str(os.getpid())


def test_state_that_it_does_not_understand(directory: Path) -> None:
    control.start(directory)
    control.stop(directory)
    with sqlite3.connect(directory / "state/region.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(RegionError) as caught:
        control.start(directory)
    assert "format 99" in caught.value.brief
    control.reset(directory)
    assert control.start(directory).objects == 0


def test_half_written_bytes_are_swept_at_start(directory: Path) -> None:
    control.start(directory)
    control.stop(directory)
    state = directory / "state"
    (state / "incoming/half").write_bytes(b"half")
    (state / "blobs/00").mkdir()
    (state / "blobs/00" / ("0" * 64)).write_bytes(b"nobody's")
    control.start(directory)
    assert_no_orphans(directory)


def test_a_daemon_that_does_not_answer_is_replaced(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = control.start(directory)
    os.kill(first.pid, signal.SIGSTOP)
    monkeypatch.setattr(control, "ANSWER_TIMEOUT", 0.3)
    monkeypatch.setattr(control, "STOP_TIMEOUT", 0.5)
    monkeypatch.setattr(control, "SETTLE_TIMEOUT", 0.5)
    again = control.start(directory)
    assert again.pid != first.pid
    assert replace(again, pid=0, since="") == replace(first, pid=0, since="")
