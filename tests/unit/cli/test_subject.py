"""What a word on the command line of verify stands for."""

import os
import re
from pathlib import Path

import pytest

from builder.cli.subject import Image, Manifest, Stored, parse
from builder.errors import RecipeError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files = {
        "one/web.manifest.xml": b"<?xml",
        "one/web.part.0": b"x",
        "two/a.manifest.xml": b"<",
        "two/b.manifest.xml": b"<",
        "made/disk.raw": bytes(2048),
        "made/object.json": b"{}",
        "old.manifest": b"\1\0",
        "any": b"\xef\xbb\xbf \n<manifest>",
        "web.img": bytes(2048),
        "bucket/key": bytes(64),
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one", Manifest(path=Path("one/web.manifest.xml"))),
        ("one/web.manifest.xml", Manifest(path=Path("one/web.manifest.xml"))),
        ("old.manifest", Manifest(path=Path("old.manifest"))),
        ("any", Manifest(path=Path("any"))),
        ("made", Image(path=Path("made/disk.raw"))),
        ("web.img", Image(path=Path("web.img"))),
        ("bucket/key", Image(path=Path("bucket/key"))),
        ("s3://bucket/key", Stored(bucket="bucket", key="key")),
        ("s3://bucket/a/b/", Stored(bucket="bucket", key="a/b/")),
        ("bucket/a/web.manifest.xml", Stored(bucket="bucket", key="a/web.manifest.xml")),
    ],
)
def test_parse(text: str, expected: Manifest | Stored | Image) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("two", "two holds 2 manifests"),
        ("empty", "empty holds no manifests"),
        ("nothing", "nothing is not there"),
        ("./bucket/nothing", "./bucket/nothing is not there"),
        ("one/web.part.0", "one/web.part.0 is one part of a bundle"),
        ("pipe", "pipe is neither a file nor a block device"),
        ("s3://", "s3:// is not the place of a manifest in S3"),
        ("s3://bucket", "s3://bucket is not the place of a manifest in S3"),
        ("s3://bucket/", "s3://bucket/ is not the place of a manifest in S3"),
        ("s3://buc?et/key", "s3://buc?et/key is not the place of a manifest in S3"),
    ],
)
def test_what_can_be_none_of_them(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        parse(text)
