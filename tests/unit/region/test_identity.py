"""The region's identity: made once, whoever asks first, and read back fast."""

import hashlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from builder.errors import HostError
from builder.region.identity import identity


def test_what_it_is(tmp_path: Path) -> None:
    found = identity(tmp_path / "region")
    assert identity(tmp_path / "region") == found
    assert re.fullmatch(r"[0-9a-f]{32}", found.id)
    assert found.account == "123456789012"
    certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
    assert hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest() == found.fingerprint
    key = load_pem_private_key(found.private_key.read_bytes(), password=None)
    public = certificate.public_key()
    assert isinstance(key, RSAPrivateKey)
    assert isinstance(public, RSAPublicKey)
    assert (public.key_size, key.public_key().public_numbers()) == (2048, public.public_numbers())
    assert certificate.not_valid_before_utc < datetime.now(UTC) < certificate.not_valid_after_utc
    assert found.private_key.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in (tmp_path / "region").iterdir()] == ["identity"]


def test_each_region_is_another(tmp_path: Path) -> None:
    one, other = identity(tmp_path / "one"), identity(tmp_path / "other")
    assert one.id != other.id
    assert one.fingerprint != other.fingerprint


def test_many_at_once_make_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(identity, [tmp_path / "region"] * 4))
    assert len(found) == 1
    assert [each.name for each in (tmp_path / "region").iterdir()] == ["identity"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 2, "id": "", "account": "", "fingerprint": ""}'])
def test_what_is_not_an_identity_is_refused(tmp_path: Path, text: str) -> None:
    identity(tmp_path)
    (tmp_path / "identity/identity.json").write_text(text)
    with pytest.raises(HostError, match=r"identity\.json: not the identity of a local region"):
        identity(tmp_path)


def test_reading_it_back_loads_nothing_heavy(tmp_path: Path) -> None:
    """A warm plan asks for it: no cryptography, no moto, no boto3."""
    identity(tmp_path)
    script = (
        "import sys; from pathlib import Path; from builder.region import control, identity; "
        f"identity.identity(Path({str(tmp_path)!r})); control.status(Path({str(tmp_path)!r})); "
        "print([each for each in ('cryptography', 'moto', 'boto3', 'botocore', 'sqlite3') if each in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "[]\n"
