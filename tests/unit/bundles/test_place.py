from typing import Any

import pytest
from botocore.client import BaseClient

from builder.bundles.place import files_of, manifest_of, refuse_any, removal, stem_of
from builder.cloud.s3 import Bucket
from builder.errors import RegionError
from tests.support.stubs import stubbed_client


@pytest.fixture
def bucket(tmp_path: Any) -> Any:
    for make in stubbed_client(tmp_path):
        client: BaseClient
        client, _ = make("s3", "us-east-1")
        yield Bucket(client=client, name="images")


def test_files_of_a_bundle_and_of_no_other() -> None:
    names = {
        "web.img.manifest.xml", "web.img.part.10", "web.img.part.9", "web.img.part.0",
        "web.img", "web.img.part.", "web.img.part.x", "web.img.part.0.bak", "web.img.part.0\n", "web.img2.part.0",
        "web-img.part.0", "xweb.img.part.0", "web.img.manifest.xml.bak", "web.img.part.-1", "web.img.part.٣",
    }  # fmt: skip
    found = ("web.img.manifest.xml", "web.img.part.0", "web.img.part.9", "web.img.part.10")
    assert files_of("web.img", names) == found
    assert (stem_of("web.img.manifest.xml"), manifest_of("web.img")) == ("web.img", "web.img.manifest.xml")


@pytest.mark.parametrize(
    ("prefix", "names", "words"),
    [
        ("a/b", ("web.part.0",), "aws s3 rm s3://images/a/b/web.part.0 "),
        ("", ("my web.part.0",), "aws s3 rm 's3://images/my web.part.0' "),
        (
            "a",
            ("web.manifest.xml", "web.part.00", "web.part.01", "web.part.100"),
            (
                "aws s3 rm s3://images/a/ --recursive --exclude '*' --include 'web.manifest.xml' "
                "--include 'web.part.[0-9][0-9]' --include 'web.part.[0-9][0-9][0-9]' "
            ),
        ),
    ],
)
def test_removal(bucket: Bucket, prefix: str, names: tuple[str, ...], words: str) -> None:
    assert words in removal(bucket, prefix, names)


def test_what_is_in_the_way_is_named(bucket: Bucket) -> None:
    refuse_any(bucket, "a", ())
    with pytest.raises(RegionError, match="s3://images/a/ holds 12 objects that are not of this bundle") as caught:
        refuse_any(bucket, "a", (f"web.part.{number}" for number in range(12)))
    assert caught.value.detail.splitlines()[-2:] == ["a/web.part.9", "and 2 more"]
