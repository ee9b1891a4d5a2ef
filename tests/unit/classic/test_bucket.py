"""Buckets and prefixes as the classic commands are given them, and a bucket that is elsewhere."""

from typing import Any

import pytest
from botocore.stub import Stubber

from builder.classic import bucket
from builder.classic.bucket import Address, address, parse, parse_manifest
from builder.classic.place import Place
from builder.errors import RecipeError, RegionError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("infoweek-test", Address(bucket="infoweek-test", prefix="")),
        ("infoweek-test/", Address(bucket="infoweek-test", prefix="")),
        ("b/some/prefix", Address(bucket="b", prefix="some/prefix")),
        ("s3://b/some/prefix/", Address(bucket="b", prefix="some/prefix")),
        # EC2 asks for the key with one slash, and does not find the object that has two.
        ("b//some//prefix", Address(bucket="b", prefix="some/prefix")),
    ],
)
def test_the_first_slash_ends_the_bucket(text: str, expected: Address) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "/prefix", "s3://", "s3:///prefix"])
def test_no_bucket(text: str) -> None:
    with pytest.raises(RecipeError, match="names no bucket"):
        parse(text)


@pytest.mark.parametrize("text", ["a b/x", "b\u00fccher/x", "../x", "x" * 256, "arn:aws:s3:::bucket"])
def test_what_cannot_be_a_bucket(text: str) -> None:
    with pytest.raises(RecipeError, match="cannot be the name of a bucket"):
        parse(text)


@pytest.mark.parametrize("text", ["b/..", "b/../x", "s3://b/x/./y", "b/x/.."])
def test_steps_that_lead_elsewhere(text: str) -> None:
    with pytest.raises(RecipeError, match="has a step"):
        parse(text)


def test_a_manifest_in_s3() -> None:
    assert parse_manifest("s3://b/a/b/n.manifest.xml") == (Address(bucket="b", prefix="a/b"), "n.manifest.xml")
    assert parse_manifest("s3://b/n.manifest.xml") == (Address(bucket="b", prefix=""), "n.manifest.xml")
    with pytest.raises(RecipeError, match="is no manifest in S3"):
        parse_manifest("s3://b/")


def test_a_destination_is_a_path_or_an_address() -> None:
    assert address("s3://b/p") == Address(bucket="b", prefix="p")
    assert address("bundles/s3:") is None


class Regions:
    """Clients whose HeadBucket answers as a bucket in `home` does: clients of other regions are told where it is."""

    def __init__(self, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.asked = home, list[str]()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
        made = Place.client
        monkeypatch.setattr(Place, "client", lambda place, service: self.stubbed(made(place, service)))

    def stubbed(self, client: Any) -> Any:
        self.asked.append(client.meta.region_name)
        stubber = Stubber(client)
        metadata = {"HTTPHeaders": {"x-amz-bucket-region": self.home}}
        for _ in range(2):
            if client.meta.region_name == self.home:
                stubber.add_response("head_bucket", {"BucketRegion": self.home, "ResponseMetadata": metadata})
            else:
                stubber.add_client_error("head_bucket", "301", http_status_code=301, response_meta=metadata)
        stubber.activate()
        return client


def test_a_bucket_that_is_elsewhere_than_us_east_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manual: "the tool uses the bucket's actual location"."""
    regions = Regions("eu-west-1", monkeypatch)
    found = bucket.ready(Place(region="us-east-1"), parse("b/p"))
    assert (found.client.meta.region_name, regions.asked) == ("eu-west-1", ["us-east-1", "eu-west-1"])
    assert capsys.readouterr().err == "note: the bucket b is in eu-west-1: register there, with --region eu-west-1\n"


def test_a_bucket_that_is_elsewhere_than_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manual: "the tool exits with an error"."""
    Regions("eu-west-1", monkeypatch)
    with pytest.raises(RegionError, match="the bucket b is in eu-west-1, the AMI is for us-west-2"):
        bucket.ready(Place(region="us-west-2"), parse("b/p"))
