"""Which region a command talks to, at which address, as whom."""

from argparse import Namespace
from pathlib import Path

import pytest

from builder.catalog.certificates import CN_NORTH_1, COMMERCIAL, US_GOV_WEST_1
from builder.classic.place import Place, choose, credentials, find
from builder.errors import RecipeError, RegionError

HERE = "http://127.0.0.1:5000"
THERE = "https://walrus.example.org:8773/services/Walrus"


@pytest.mark.parametrize(
    ("region", "url", "environment", "expected"),
    [
        pytest.param(None, None, {}, ("local", None), id="the house's default"),
        pytest.param("eu-west-1", None, {}, ("eu-west-1", None), id="--region"),
        pytest.param("local", None, {}, ("local", None), id="--region local"),
        pytest.param(None, HERE, {}, ("local", HERE), id="--url of this machine"),
        pytest.param(None, "http://localhost:1/", {}, ("local", "http://localhost:1"), id="--url by name"),
        pytest.param("us-west-2", HERE, {}, ("us-west-2", HERE), id="--url, signed for --region"),
        pytest.param(None, THERE, {}, ("us-east-1", THERE), id="--url of another cloud"),
        pytest.param(None, "https://s3.amazonaws.com/", {}, ("us-east-1", None), id="the manual's default"),
        pytest.param(None, "http://s3.amazonaws.com:80", {}, ("us-east-1", None), id="as EC2 writes it"),
        pytest.param(None, "https://s3-eu-west-1.amazonaws.com", {}, ("eu-west-1", None), id="S3, with a dash"),
        pytest.param(None, "https://s3.eu-central-1.amazonaws.com", {}, ("eu-central-1", None), id="S3, with a dot"),
        pytest.param(None, "https://s3.cn-north-1.amazonaws.com.cn", {}, ("cn-north-1", None), id="S3 in China"),
        pytest.param(None, "https://s3-us-gov-west-1.amazonaws.com", {}, ("us-gov-west-1", None), id="S3, gov"),
        pytest.param(None, "https://us-west-1.ec2.amazonaws.com", {}, ("us-west-1", None), id="EC2's classic address"),
        pytest.param("us-west-2", "https://s3.amazonaws.com", {}, ("us-west-2", None), id="AWS's address and --region"),
        pytest.param(None, None, {"S3_URL": HERE}, ("local", HERE), id="S3_URL"),
        pytest.param(None, None, {"EC2_URL": HERE}, ("local", HERE), id="EC2_URL, for S3 too"),
        pytest.param(
            None, None, {"S3_URL": THERE, "EC2_URL": HERE}, ("us-east-1", THERE), id="the service's own first"
        ),
        pytest.param(
            None, None, {"EC2_URL": "https://ec2.eu-west-1.amazonaws.com"}, ("eu-west-1", None), id="EC2_URL of AWS"
        ),
        pytest.param("eu-west-1", None, {"S3_URL": HERE}, ("eu-west-1", None), id="--region before S3_URL"),
        pytest.param("local", None, {"S3_URL": HERE}, ("local", HERE), id="--region local at S3_URL"),
        pytest.param("local", None, {"S3_URL": THERE}, ("local", None), id="--region local, S3_URL is elsewhere"),
        pytest.param(None, None, {"AMI_FACTORY_REGION": "us-west-1"}, ("us-west-1", None), id="AMI_FACTORY_REGION"),
        pytest.param(
            None, None, {"AMI_FACTORY_REGION": "us-west-1", "S3_URL": HERE}, ("local", HERE), id="S3_URL before it"
        ),
        pytest.param(None, None, {"S3_URL": ""}, ("local", None), id="an empty variable is none"),
    ],
)
def test_where(
    region: str | None, url: str | None, environment: dict[str, str], expected: tuple[str, str | None]
) -> None:
    assert choose(region, url, environment, "s3") == expected


def test_ec2_asks_its_own_variable_first() -> None:
    environment = {"S3_URL": THERE, "EC2_URL": HERE}
    assert choose(None, None, environment, "ec2") == ("local", HERE)


def test_a_location_counts_where_an_address_names_no_region() -> None:
    aws = "https://s3.amazonaws.com"
    assert choose(None, aws, {}, "s3", location="eu-west-1") == ("eu-west-1", None)
    assert choose(None, None, {"S3_URL": aws}, "s3", location="eu-west-1") == ("eu-west-1", None)
    assert choose(None, None, {}, "s3", location="eu-west-1") == ("local", None)
    assert choose(None, HERE, {}, "s3", location="us-east-1") == ("local", HERE)


@pytest.mark.parametrize(
    ("region", "url", "environment", "why"),
    [
        pytest.param("us-esat-1", None, {}, '"us-esat-1" is not a region', id="region"),
        pytest.param("us-esat-1", HERE, {}, '"us-esat-1" is not a region', id="region at an address"),
        pytest.param(None, "nowhere", {}, "--url: 'nowhere' is not an address", id="url"),
        pytest.param(None, "http://me:secret@host/", {}, "--url holds a user name", id="password"),
        pytest.param(None, None, {"S3_URL": "ftp://x"}, "S3_URL: 'ftp://x' is not an address", id="S3_URL"),
        pytest.param(None, None, {"AMI_FACTORY_REGION": "mars"}, "is not a region", id="AMI_FACTORY_REGION"),
    ],
)
def test_where_nothing_is(region: str | None, url: str | None, environment: dict[str, str], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        choose(region, url, environment, "s3")


def given(**more: str | None) -> Namespace:
    return Namespace(
        **{"access_key": None, "secret_key": None, "delegation_token": None, "debug": False, "profile": None, **more}
    )


def test_credentials_are_a_pair() -> None:
    assert credentials(given(), local=True) is None
    found = credentials(given(access_key="AKIA", secret_key="hidden", delegation_token="t"), local=False)
    assert found is not None
    assert (found.key, found.secret, found.token) == ("AKIA", "hidden", "t")
    assert repr(found) == "Credentials()"
    for half in ("access_key", "secret_key"):
        with pytest.raises(RecipeError, match="is missing: they belong together"):
            credentials(given(**{half: "x"}), local=True)


def test_the_local_regions_words_are_no_key_of_aws() -> None:
    """A shell that has evaluated `ami-factory region env` can still talk to AWS, as configured."""
    words = given(access_key="local", secret_key="local")
    assert credentials(words, local=True) is not None
    assert credentials(words, local=False) is None


def test_a_profile_is_taken_in_place_of_a_key() -> None:
    place = find(given(access_key="AKIA", secret_key="hidden", profile="me", url=None, region="us-east-1"), "s3")
    assert (place.profile, place.credentials) == ("me", None)


def test_no_secret_shows_in_a_place() -> None:
    place = find(given(access_key="AKIA", secret_key="hidden", url=HERE, region=None), "s3")
    assert "hidden" not in repr(place)
    assert place.credentials is not None


def test_the_emulated_region_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    find(given(url=HERE, region=None), "s3")
    assert capsys.readouterr().err == "region: local (emulated)\n"
    find(given(url=None, region="us-east-1"), "s3")
    assert capsys.readouterr().err == ""


def test_ec2_certificate_by_region() -> None:
    regions = ("us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1")
    found = [Place(region=name).certificate() for name in regions]
    assert found == [COMMERCIAL.path, COMMERCIAL.path, US_GOV_WEST_1.path, CN_NORTH_1.path]
    with pytest.raises(RegionError, match="no published certificate"):
        Place(region="cn-northwest-1").certificate()


def test_the_local_regions_own_certificate_and_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known without a region that runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = Place(region="local")
    assert place.certificate() == tmp_path / "ami-factory/region/identity/certificate.pem"
    assert place.account() == "123456789012"


def test_nothing_is_started_for_an_address() -> None:
    assert Place(region="local", given_url=HERE).endpoint_url == HERE
    assert Place(region="us-east-1").endpoint_url is None
