"""A directory kept in S3 by recipes/parts/s3-sync: the distribution's own client, the local region over HTTP."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import USER_DATA, Instance
from tests.support.metadata import metadata_service
from tests.support.regions import client, region_at, served

pytestmark = [pytest.mark.host, pytest.mark.skipif(shutil.which("s3cmd") is None, reason="needs s3cmd")]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    with served(region_at(tmp_path / "region")) as endpoint:
        client("s3", endpoint).create_bucket(Bucket="kept")
        yield endpoint


def settings(endpoint: str, **changed: str) -> str:
    values = {
        "DIRECTORY": "/srv/data",
        "TARGET": "s3://kept/web",
        "ENDPOINT": endpoint,
        "ACCESS_KEY": "local",
        "SECRET_KEY": "local",
        **changed,
    }
    return "".join(f"S3_SYNC_{name}={value}\n" for name, value in values.items())


def run(root: Path, user_data: str, *verbs: str) -> list[tuple[int, str]]:
    """Each verb in turn, on the instance whose root is `root`."""
    with metadata_service({"instance-id": f"i-{root.name}", USER_DATA: user_data}) as (address, _):
        instance = Instance(root=root, metadata=address)
        return [instance.run("s3-sync", verb) for verb in verbs]


def keys(endpoint: str) -> list[str]:
    contents: list[dict[str, Any]] = client("s3", endpoint).list_objects_v2(Bucket="kept").get("Contents", [])
    return [each["Key"] for each in contents]


def test_saved_and_restored_on_a_new_instance(endpoint: str, tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    data = one / "srv/data"
    data.joinpath("deep").mkdir(parents=True)
    data.joinpath("page").write_text("first")
    data.joinpath("deep/ä b").write_bytes(b"\0" * 100_000)
    data.joinpath("page").chmod(0o640)
    os.utime(data / "page", (1_600_000_000, 1_600_000_000))
    assert run(one, settings(endpoint), "restore", "save", "save") == [
        (0, "s3-sync: /srv/data is restored from s3://kept/web/: 0 files fetched\n"),
        (0, "s3-sync: /srv/data is saved in s3://kept/web/: 2 files sent\n"),
        (0, "s3-sync: /srv/data is saved in s3://kept/web/: 0 files sent\n"),
    ]
    assert keys(endpoint) == ["web/deep/ä b", "web/page"]

    assert run(two, settings(endpoint), "restore", "restore") == [
        (0, "s3-sync: /srv/data is restored from s3://kept/web/: 2 files fetched\n"),
        (0, "s3-sync: i-2 has restored before\n"),
    ]
    restored = two / "srv/data"
    assert (restored / "page").read_text() == "first"
    assert (restored / "deep/ä b").read_bytes() == b"\0" * 100_000
    status = (restored / "page").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o640, 1_600_000_000)

    (restored / "page").unlink()
    (restored / "more").write_text("x")
    assert run(two, settings(endpoint), "save")[0][0] == 0
    assert keys(endpoint) == ["web/deep/ä b", "web/more"]


def test_what_another_client_has_put_there_can_be_read_by_all(endpoint: str, tmp_path: Path) -> None:
    client("s3", endpoint).put_object(Bucket="kept", Key="web/deep/page", Body=b"put")
    assert run(tmp_path / "6", settings(endpoint), "restore")[0][0] == 0
    restored = tmp_path / "6/srv/data/deep/page"
    paths = (restored, restored.parent, restored.parent.parent)
    assert [path.stat().st_mode & 0o055 for path in paths] == [0o055] * 3  # s3cmd 2.3 makes such files executable


def test_nothing_is_saved_before_it_is_restored(endpoint: str, tmp_path: Path) -> None:
    client("s3", endpoint).put_object(Bucket="kept", Key="web/page", Body=b"kept")
    assert run(tmp_path / "3", settings(endpoint), "save") == [
        (1, "s3-sync: not saved: i-3 has not restored /srv/data yet\n")
    ]
    # Nor after a restore that failed.
    wrong = settings(endpoint, TARGET="s3://nobodys/web")
    (code, said), refused = run(tmp_path / "3", wrong, "restore", "save")
    assert code == 1
    assert "NoSuchBucket" in said or "does not exist" in said
    assert refused == (1, "s3-sync: not saved: i-3 has not restored /srv/data yet\n")
    assert keys(endpoint) == ["web/page"]


def test_without_settings(tmp_path: Path) -> None:
    said = (0, "s3-sync: not set up: there are no S3_SYNC settings\n")
    assert run(tmp_path / "4", "#!/bin/sh\ntrue\n", "restore", "save") == [said, said]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"DIRECTORY": "srv"}, "S3_SYNC_DIRECTORY is not the path of a directory", id="directory"),
        pytest.param({"DIRECTORY": "/srv/../etc"}, "S3_SYNC_DIRECTORY holds ..", id="climbing"),
        pytest.param({"TARGET": "kept"}, "S3_SYNC_TARGET is not of the form s3://BUCKET/PREFIX", id="target"),
        pytest.param(
            {"ENDPOINT": "localhost"},
            "S3_SYNC_ENDPOINT is not an address that starts with https:// or http://",
            id="endpoint",
        ),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    assert run(tmp_path / "5", settings("http://127.0.0.1:9", **changed), "save") == [(1, f"s3-sync: {said}\n")]
