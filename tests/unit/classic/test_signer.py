"""Whose keys a bundle is made with."""

from argparse import Namespace
from pathlib import Path

import pytest

from builder.catalog.certificates import COMMERCIAL
from builder.classic import signer
from builder.classic.place import Place
from builder.errors import BuilderError, RecipeError
from builder.formats import bundle_cipher


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two pairs, mine and other, and nothing else of the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("mine", "other"):
        key, certificate = bundle_cipher.make_pair()
        (tmp_path / f"{name}.key").write_bytes(key)
        (tmp_path / f"{name}.crt").write_bytes(certificate)
    return tmp_path


def given(**more: object) -> Namespace:
    nothing = {"cert": None, "privatekey": None, "user": None, "ec2cert": None, "debug": False}
    return Namespace(**{**nothing, **more})


def test_a_pair_and_the_regions_certificate(home: Path) -> None:
    options = given(cert=str(home / "mine.crt"), privatekey=str(home / "mine.key"), user="111122223333")
    found = signer.load(options, Place(region="us-east-1"))
    assert found.account == "111122223333"
    assert bundle_cipher.fits(found.keys.private_key, (home / "mine.crt").read_bytes())
    ec2 = bundle_cipher.load_public_key(COMMERCIAL.path.read_bytes())
    assert found.keys.ec2.public_numbers() == ec2.public_numbers()


def test_another_certificate_of_ec2(home: Path) -> None:
    options = given(
        cert=str(home / "mine.crt"),
        privatekey=str(home / "mine.key"),
        user="111122223333",
        ec2cert=str(home / "other.crt"),
    )
    found = signer.load(options, Place(region="us-east-1"))
    assert found.keys.ec2.public_numbers() == signer.certificate(home / "other.crt").public_numbers()


def test_a_pair_of_our_own_and_the_regions_account(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = signer.load(given(), Place(region="local"))
    assert found.account == "123456789012"
    assert "note: made a certificate and private key" in capsys.readouterr().err
    assert signer.load(given(), Place(region="local")).keys.private_key.private_numbers() == (
        found.keys.private_key.private_numbers()
    )
    assert capsys.readouterr().err == ""
    assert signer.own_key(None) == home / "state/ami-factory/identity/private-key.pem"


def test_another_account_than_the_local_regions(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert signer.load(given(user="111122223333"), Place(region="local")).account == "111122223333"
    assert "the local region's account is 123456789012" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param({"cert": "mine.crt"}, "private key for bundles is missing", id="no key"),
        pytest.param({"privatekey": "mine.key"}, "certificate for bundles is missing", id="no certificate"),
        pytest.param({"cert": "mine.crt", "privatekey": "other.key"}, "does not belong to", id="two pairs"),
        pytest.param({"cert": "mine.crt", "privatekey": "gone.key"}, "gone.key cannot be read", id="key is gone"),
        pytest.param({"cert": "gone.crt", "privatekey": "mine.key"}, "gone.crt cannot be read", id="gone"),
        pytest.param({"cert": "mine.crt", "privatekey": "mine.crt"}, "not a private key", id="a certificate for a key"),
        pytest.param({"cert": "mine.key", "privatekey": "mine.key"}, "not a certificate", id="a key for a certificate"),
    ],
)
def test_keys_that_do_not_fit(more: dict[str, str], why: str, home: Path) -> None:
    paths = {name: str(home / value) for name, value in more.items()}
    with pytest.raises(BuilderError, match=why):
        signer.load(given(user="111122223333", **paths), Place(region="us-east-1"))


def test_ec2_certificate_that_is_none(home: Path) -> None:
    options = given(user="111122223333", ec2cert=str(home / "nothere.pem"))
    with pytest.raises(RecipeError, match=r"nothere\.pem cannot be read: No such file"):
        signer.load(options, Place(region="us-east-1"))
