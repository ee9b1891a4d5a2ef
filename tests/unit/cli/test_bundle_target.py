"""What a bundle is held against: by region, by account, by the keys at hand, and by the store's records."""

import hashlib
from pathlib import Path

import pytest

from builder.bundles.contract import no_progress
from builder.bundles.observe import Means
from builder.bundles.observed import KernelImage
from builder.catalog.certificates import COMMERCIAL, US_GOV_WEST_1
from builder.cli.bundle_target import means, recorded, target
from builder.errors import RecipeError
from builder.factory import Factory, Options
from builder.host.directories import region_directory, state_directory
from builder.identity import load_identity
from builder.region.identity import identity as region_identity
from builder.store.contract import Record
from builder.store.local import LocalStore
from tests.support.bundles import make_user
from tests.support.plans import Silent


def factory(region: str = "local", endpoint_url: str | None = None) -> Factory:
    return Factory(options=Options(region=region, endpoint_url=endpoint_url), listener=Silent(), say=lambda _: None)


def test_the_local_region() -> None:
    own = region_identity(region_directory())
    found = target(factory(), "", ask=False)
    assert (found.region, found.account, found.certificate) == ("local", own.account, own.fingerprint)
    assert found.modulus.bit_length() == 2048
    assert KernelImage(id="aki-919dcaf8", region="local", architecture="x86_64") in found.kernels


@pytest.mark.parametrize(
    ("region", "certificate", "bits"),
    [
        ("eu-west-1", COMMERCIAL.sha256, 1024),
        ("us-gov-west-1", US_GOV_WEST_1.sha256, 1024),
        ("us-gov-east-1", "", 0),
    ],
)
def test_regions_of_aws(region: str, certificate: str, bits: int) -> None:
    """Nobody is asked: whose it is stays unknown."""
    found = target(factory(region), "", ask=False)
    assert (found.region, found.account, found.certificate) == (region, "", certificate)
    assert found.modulus.bit_length() == bits


def test_whose_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option first, then EC2_USER; an endpoint that is not AWS's is not asked."""
    monkeypatch.setenv("EC2_USER", "9999-8888-7777")
    there = factory("eu-west-1", "http://127.0.0.1:1")
    assert target(there, "", ask=True).account == "999988887777"
    assert target(there, "1111-2222-3333", ask=True).account == "111122223333"
    with pytest.raises(RecipeError, match='--account: "12" is not an AWS account number'):
        target(there, "12", ask=False)
    monkeypatch.setenv("EC2_USER", "me")
    with pytest.raises(RecipeError, match='EC2_USER: "me" is not an AWS account number'):
        target(there, "", ask=False)


def test_an_unknown_region() -> None:
    with pytest.raises(RecipeError, match='did you mean "eu-west-1"'):
        target(factory("eu-wst-1"), "", ask=False)


def found_means(region: str = "us-east-1", certificate: Path | None = None, key: Path | None = None) -> Means:
    return means(factory(region), certificate, key, deep=False, progress=no_progress)


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made; what was made before is taken; what is given comes first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert found_means() == Means()
    assert not (state_directory() / "identity").exists()

    load_identity(state_directory())
    own = found_means()
    assert own.private_key is not None and own.certificate is not None and own.ec2_key is None
    assert own.certificate.public_numbers() == own.private_key.public_key().public_numbers()
    assert found_means("local").ec2_key is not None

    key, certificate = make_user(tmp_path / "user")
    by_key, by_certificate = found_means(key=key), found_means(certificate=certificate)
    assert by_key.certificate is not None and by_certificate.certificate is not None
    assert by_key.certificate.public_numbers() == by_certificate.certificate.public_numbers()
    assert by_certificate.private_key is None
    assert by_key.certificate.public_numbers() != own.certificate.public_numbers()

    for path, what in ((certificate, "is not a private key"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(RecipeError, match=what):
            found_means(key=path)
    with pytest.raises(RecipeError, match="is not a certificate"):
        found_means(certificate=key)


def test_half_a_pair_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EC2_CERT", "cert.pem")
    with pytest.raises(RecipeError, match="the private key for bundles is missing"):
        found_means()


def test_the_record_of_its_build(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    assert recorded(store, b"manifest") == ""
    store.prepare()
    for stage, key, data in (("bundle", "a" * 64, b"manifest"), ("image", "b" * 64, b"image")):
        with store.workspace(key) as room:
            record = Record(
                key=key,
                stage=stage,
                version=1,
                spec={"ec2_certificate": "f" * 64},
                inputs={},
                result={"digests": {"x": hashlib.sha256(data).hexdigest()}},
                created=0,
                milliseconds=0,
            )
            store.put(record, room.output)
    assert recorded(store, b"manifest") == "f" * 64
    assert recorded(store, b"image") == ""
    (store.object_path("a" * 64) / "object.json").write_text("damaged")
    assert recorded(store, b"manifest") == ""
