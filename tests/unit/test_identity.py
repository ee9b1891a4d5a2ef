import multiprocessing
import stat
from pathlib import Path

import pytest

from builder.errors import HostError, RecipeError
from builder.formats import bundle_cipher
from builder.identity import Identity, load_identity


def test_made_once_and_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    first = load_identity(tmp_path / "state", environment={}, note=said.append)
    second = load_identity(tmp_path / "state", environment={}, note=said.append)
    home = tmp_path / "state" / "identity"
    assert (first.made, second.made) == (True, False)
    assert second == Identity(
        account="",
        certificate=home / "certificate.pem",
        private_key=home / "private-key.pem",
        fingerprint=first.fingerprint,
    )
    assert len(said) == 1
    assert str(home) in said[0]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(first.private_key.stat().st_mode) == 0o600
    key = bundle_cipher.load_private_key(first.private_key.read_bytes())
    assert bundle_cipher.fits(key, first.certificate.read_bytes())
    assert key.key_size == 2048


def test_half_a_pair_is_made_anew(tmp_path: Path) -> None:
    first = load_identity(tmp_path, environment={})
    first.private_key.unlink()
    again = load_identity(tmp_path, environment={})
    assert again.made
    assert again.fingerprint != first.fingerprint
    key = bundle_cipher.load_private_key(again.private_key.read_bytes())
    assert bundle_cipher.fits(key, again.certificate.read_bytes())


def test_a_key_outlives_its_certificate(tmp_path: Path) -> None:
    first = load_identity(tmp_path, environment={})
    key = first.private_key.read_bytes()
    first.certificate.unlink()
    again = load_identity(tmp_path, environment={})
    assert again.made
    assert again.private_key.read_bytes() == key
    assert bundle_cipher.fits(bundle_cipher.load_private_key(key), again.certificate.read_bytes())


def fingerprint_of(state: Path) -> str:
    return load_identity(state, environment={}).fingerprint


def test_several_at_once_make_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(fingerprint_of, [tmp_path / "state"] * 4))) == 1


def given(tmp_path: Path) -> tuple[Path, Path]:
    private, certificate = bundle_cipher.make_pair()
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "pk.pem").write_bytes(private)
    return tmp_path / "cert.pem", tmp_path / "pk.pem"


def test_given_ones_come_before_the_environment(tmp_path: Path) -> None:
    certificate, key = given(tmp_path)
    environment = {"EC2_USER": "1234-5678-9012", "EC2_CERT": "/nowhere", "EC2_PRIVATE_KEY": "/nowhere"}
    found = load_identity(tmp_path / "state", certificate=certificate, private_key=key, environment=environment)
    assert found == Identity(
        account="123456789012",
        certificate=certificate,
        private_key=key,
        fingerprint=bundle_cipher.fingerprint(certificate.read_bytes()),
    )
    assert not (tmp_path / "state").exists()


def test_the_environment(tmp_path: Path) -> None:
    certificate, key = given(tmp_path)
    environment = {"EC2_CERT": str(certificate), "EC2_PRIVATE_KEY": str(key)}
    found = load_identity(tmp_path / "state", account="000000000001", environment=environment)
    assert (found.account, found.certificate, found.private_key) == ("000000000001", certificate, key)


@pytest.mark.parametrize("account", ["12345", "1234567890123", "12345678901a", "\uff11" * 12])
def test_bad_account(account: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not an AWS account number"):
        load_identity(tmp_path, account=account, environment={})


def test_half_a_pair(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the private key for bundles is missing"):
        load_identity(tmp_path, certificate="cert.pem", environment={})
    with pytest.raises(RecipeError, match="the certificate for bundles is missing"):
        load_identity(tmp_path, environment={"EC2_PRIVATE_KEY": "pk.pem"})


def test_files_that_are_not_there_or_something_else(tmp_path: Path) -> None:
    certificate, key = given(tmp_path)
    with pytest.raises(RecipeError, match=r"gone\.pem cannot be read: No such file"):
        load_identity(tmp_path, certificate=tmp_path / "gone.pem", private_key=key, environment={})
    with pytest.raises(RecipeError, match=r"gone\.pem cannot be read: No such file"):
        load_identity(tmp_path, certificate=certificate, private_key=tmp_path / "gone.pem", environment={})
    with pytest.raises(RecipeError, match=r"pk\.pem is not a certificate"):
        load_identity(tmp_path, certificate=key, private_key=key, environment={})


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(HostError, match="cannot be written"):
        load_identity(tmp_path / "state", environment={})
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
