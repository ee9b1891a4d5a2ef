import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.catalog import certificates
from builder.errors import BuilderError, HostError
from builder.formats import bundle_cipher
from builder.formats.bundle_cipher import Decryptor, Encryptor, SessionKey
from builder.formats.bundle_manifest import BundleManifest, Part

SESSION = SessionKey(
    key=bytes.fromhex("00112233445566778899aabbccddeeff"), iv=bytes.fromhex("0f0e0d0c0b0a09080706050403020100")
)


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return bundle_cipher.make_pair()


def encrypt(*pieces: bytes) -> bytes:
    cipher = Encryptor(SESSION)
    return b"".join(bytes(cipher.update(piece)) for piece in pieces) + cipher.finish()


def decrypt(data: bytes, session: SessionKey = SESSION) -> bytes:
    cipher = Decryptor(session)
    return bytes(cipher.update(data)) + cipher.finish()


@pytest.mark.parametrize(
    ("plain", "cipher"),
    [
        pytest.param(b"", "d8f43fc6392d8dced3af48947afeeee4", id="empty"),
        pytest.param(b"bundle", "6e29507b9d14f23e33d75df28eb3bc1f", id="bundle"),
    ],
)
def test_vectors_of_the_reference(plain: bytes, cipher: str) -> None:
    assert encrypt(plain).hex() == cipher


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 32, 1000])
def test_round_trip_and_whole_block_of_padding(length: int) -> None:
    plain = bytes(range(256)) * 4
    plain = plain[:length]
    packed = encrypt(plain[:7], plain[7:20], plain[20:])
    assert packed == encrypt(plain)
    assert len(packed) == length + 16 - length % 16
    assert decrypt(packed) == plain


@pytest.mark.parametrize(
    ("data", "session"),
    [
        pytest.param(encrypt(b"x" * 40)[:-16], SESSION, id="a-block-missing"),
        pytest.param(encrypt(b"x" * 40)[:-3], SESSION, id="cut"),
        pytest.param(encrypt(b"x" * 40), SessionKey(key=bytes(16), iv=SESSION.iv), id="other-key"),
    ],
)
def test_what_does_not_decrypt(data: bytes, session: SessionKey) -> None:
    with pytest.raises(BuilderError, match="does not decrypt"):
        decrypt(data, session)


def openssl(*command: str | Path, data: bytes) -> bytes:
    return subprocess.run(["openssl", *map(str, command)], input=data, capture_output=True, check=True).stdout


@settings(max_examples=60, deadline=None)
@given(plain=st.binary(max_size=5000), cuts=st.lists(st.integers(0, 5000), max_size=12))
def test_pieces_of_any_size(plain: bytes, cuts: list[int]) -> None:
    """Every view is used before the next call, and all together are what one call gives."""
    packed, cipher, opened = encrypt(plain), Decryptor(SESSION), b""
    for start, end in pairwise([0, *sorted(cuts), 10_000]):
        opened += cipher.update(packed[start:end])
    assert opened + cipher.finish() == plain


@pytest.mark.parametrize("pad", [b"\0", b"\x11", b"\xff", b"\3\3", b"\1\2", b"x" * 16])
def test_a_wrong_padding(pad: bytes) -> None:
    block = (b"a" * 32 + pad)[-32:]
    packed = openssl(
        "enc", "-e", "-aes-128-cbc", "-nopad", "-K", SESSION.key.hex(), "-iv", SESSION.iv.hex(), data=block
    )
    with pytest.raises(BuilderError, match="does not decrypt"):
        decrypt(packed)


def test_nothing_at_all_does_not_decrypt() -> None:
    with pytest.raises(BuilderError, match="does not decrypt"):
        Decryptor(SESSION).finish()


def test_session_keys_differ_and_do_not_show() -> None:
    one, other = bundle_cipher.new_session_key(), bundle_cipher.new_session_key()
    assert len({one.key, one.iv, other.key, other.iv}) == 4
    assert {len(one.key), len(one.iv)} == {16}
    assert repr(one) == "SessionKey()"


@pytest.mark.parametrize("certificate", certificates.CERTIFICATES, ids=lambda each: each.path.stem)
def test_certificates_of_ec2(certificate: certificates.Ec2Certificate) -> None:
    """Past their dates, one of X.509 version 1: known by fingerprint, used for their keys."""
    pem = certificate.path.read_bytes()
    key = bundle_cipher.load_public_key(pem)
    assert bundle_cipher.fingerprint(pem) == certificate.sha256
    assert len(bundle_cipher.wrap(SESSION.key, key)) == key.key_size // 4


def test_hex_text_is_wrapped_not_bytes(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    private, certificate = pair
    wrapped = bundle_cipher.wrap(SESSION.key, bundle_cipher.load_public_key(certificate))
    assert wrapped != bundle_cipher.wrap(SESSION.key, bundle_cipher.load_public_key(certificate))
    (tmp_path / "key").write_bytes(private)
    opened = subprocess.run(
        ["openssl", "pkeyutl", "-decrypt", "-inkey", tmp_path / "key"],
        input=bytes.fromhex(wrapped), capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert opened == b"00112233445566778899aabbccddeeff"
    assert bundle_cipher.unwrap(wrapped, bundle_cipher.load_private_key(private)) == SESSION.key


def test_another_key_does_not_open(pair: tuple[bytes, bytes]) -> None:
    other = bundle_cipher.load_private_key(bundle_cipher.make_pair()[0])
    wrapped = bundle_cipher.wrap(SESSION.key, bundle_cipher.load_public_key(pair[1]))
    with pytest.raises(BuilderError, match="does not open the bundle"):
        bundle_cipher.unwrap(wrapped, other)
    assert not bundle_cipher.fits(other, pair[1])
    assert bundle_cipher.fits(bundle_cipher.load_private_key(pair[0]), pair[1])


def rsa(secret: bytes, certificate: Path) -> str:
    """Wrapped as the format says, by openssl."""
    return openssl("pkeyutl", "-encrypt", "-certin", "-inkey", certificate, data=secret).hex()


@dataclass(frozen=True)
class Two:
    """Those who can open a bundle."""

    user: RSAPrivateKey
    ec2: RSAPrivateKey
    user_certificate: Path
    ec2_certificate: Path


@pytest.fixture(scope="module")
def two(pair: tuple[bytes, bytes], tmp_path_factory: pytest.TempPathFactory) -> Two:
    directory, other = tmp_path_factory.mktemp("two"), bundle_cipher.make_pair()
    for name, (_, certificate) in (("user", pair), ("ec2", other)):
        (directory / name).write_bytes(certificate)
    user, ec2 = (bundle_cipher.load_private_key(each) for each, _ in (pair, other))
    return Two(user=user, ec2=ec2, user_certificate=directory / "user", ec2_certificate=directory / "ec2")


def manifest_for(two: Two, key: bytes, iv: bytes) -> BundleManifest:
    return BundleManifest(
        name="a",
        account="123456789012",
        architecture="i386",
        digest="0" * 40,
        size=1,
        bundled_size=16,
        ec2_encrypted_key=rsa(key, two.ec2_certificate),
        user_encrypted_key=rsa(key, two.user_certificate),
        ec2_encrypted_iv=rsa(iv, two.ec2_certificate),
        user_encrypted_iv=rsa(iv, two.user_certificate),
        parts=(Part(filename="a.part.0", sha1="0" * 40),),
    )


KEY_TEXT, IV_TEXT = SESSION.key.hex().encode(), SESSION.iv.hex().encode()


def test_unwrap_session_for_either_reader(two: Two) -> None:
    manifest = manifest_for(two, KEY_TEXT, IV_TEXT)
    assert [bundle_cipher.unwrap_session(manifest, key) for key in (two.user, two.ec2)] == [SESSION, SESSION]
    assert bundle_cipher.unwrap_pair(manifest.ec2_encrypted_key, manifest.ec2_encrypted_iv, two.ec2) == SESSION
    # As euca2ools leaves the user's when it has no certificate.
    unsigned = replace(manifest, user_encrypted_key="", user_encrypted_iv="")
    assert bundle_cipher.unwrap_session(unsigned, two.ec2) == SESSION
    for given_manifest, key in (
        (unsigned, two.user),
        (manifest, bundle_cipher.load_private_key(bundle_cipher.make_pair()[0])),
        (replace(manifest, user_encrypted_iv="00" * 300), two.user),
        (replace(manifest, user_encrypted_iv=rsa(IV_TEXT, two.ec2_certificate)), two.user),
    ):
        with pytest.raises(BuilderError) as caught:
            bundle_cipher.unwrap_session(given_manifest, key)
        assert caught.value.brief == "this private key does not open the bundle"


@pytest.mark.parametrize("text", [b"0f0e0d0c0b0a0908", b"0F", IV_TEXT.upper()])
def test_a_short_iv_is_what_openssl_takes_it_for(two: Two, text: bytes) -> None:
    session = bundle_cipher.unwrap_session(manifest_for(two, KEY_TEXT, text), two.user)
    packed = openssl("enc", "-e", "-aes-128-cbc", "-K", KEY_TEXT.decode(), "-iv", text.decode(), data=b"bundle")
    assert decrypt(packed, session) == b"bundle"


@pytest.mark.parametrize(
    ("key", "iv"),
    [
        pytest.param(SESSION.key, IV_TEXT, id="key-not-as-text"),
        pytest.param(KEY_TEXT, SESSION.iv, id="iv-not-as-text"),
        pytest.param(KEY_TEXT[:16], IV_TEXT, id="short-key"),
        pytest.param(KEY_TEXT, IV_TEXT + b"00", id="long-iv"),
        pytest.param(KEY_TEXT, IV_TEXT[:-1], id="odd-iv"),
        pytest.param(KEY_TEXT + b"\n", IV_TEXT, id="newline"),
    ],
)
def test_wrapped_but_no_session_key(two: Two, key: bytes, iv: bytes) -> None:
    with pytest.raises(BuilderError, match="does not open the bundle"):
        bundle_cipher.unwrap_session(manifest_for(two, key, iv), two.user)


def test_numbers_without_their_leading_zeros(two: Two) -> None:
    """RSA is done again until the first byte is zero; some writers print what is left."""
    public = two.user.public_key()
    tries = (bundle_cipher.wrap(SESSION.key, public) for _ in range(10_000))
    wrapped = next(each for each in tries if each.startswith("00"))
    assert bundle_cipher.unwrap(wrapped[2:], two.user) == SESSION.key
    data, signature = next(
        (data, found)
        for data in (b"%d" % n for n in range(10_000))
        if (found := bundle_cipher.sign(data, two.user))[0] == 0
    )
    assert bundle_cipher.verify(data, signature[1:], public)


def test_a_key_whose_bits_fill_no_whole_bytes() -> None:
    key = generate_private_key(public_exponent=65537, key_size=1025)
    tries = (bundle_cipher.wrap(SESSION.key, key.public_key()) for _ in range(1000))
    wrapped = next(each for each in tries if each.startswith("00"))
    assert bundle_cipher.unwrap(wrapped[2:], key) == SESSION.key


@pytest.mark.parametrize("said", [UnsupportedAlgorithm("sha1"), InternalError("sha1", [])])
def test_an_openssl_without_sha1_signatures(said: Exception) -> None:
    """As RHEL 9's own, by its default policy: neither signs nor verifies."""

    class Key:
        key_size = 2048

        def sign(self, *_: object) -> bytes:
            raise said

        verify = sign

    with pytest.raises(HostError, match="no signatures over SHA-1"):
        bundle_cipher.sign(b"data", cast(RSAPrivateKey, Key()))
    with pytest.raises(HostError, match="no signatures over SHA-1"):
        bundle_cipher.verify(b"data", b"signature", cast(RSAPublicKey, Key()))


def test_signature_is_one_that_openssl_verifies(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    private, certificate = pair
    signature = bundle_cipher.sign(b"signed", bundle_cipher.load_private_key(private))
    public = bundle_cipher.load_public_key(certificate)
    assert bundle_cipher.verify(b"signed", signature, public)
    assert not bundle_cipher.verify(b"Signed", signature, public)
    assert not bundle_cipher.verify(b"signed", b"", public)
    (tmp_path / "certificate").write_bytes(certificate)
    (tmp_path / "signature").write_bytes(signature)
    key = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "certificate", "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    (tmp_path / "public").write_bytes(key)
    said = subprocess.run(
        ["openssl", "dgst", "-sha1", "-verify", tmp_path / "public", "-signature", tmp_path / "signature"],
        input=b"signed", capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert said == b"Verified OK\n"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"text",
        b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nAAAA",
        b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_certificate(pem: bytes) -> None:
    with pytest.raises(BuilderError, match=r"cert\.pem is not a certificate"):
        bundle_cipher.fingerprint(pem, "cert.pem")
    with pytest.raises(BuilderError, match=r"cert\.pem is not a certificate"):
        bundle_cipher.load_public_key(pem, "cert.pem")


def test_a_certificate_of_rubbish() -> None:
    pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(BuilderError, match="can be read"):
        bundle_cipher.load_public_key(pem)


def test_the_binary_form_is_told_apart(pair: tuple[bytes, bytes]) -> None:
    key = bundle_cipher.load_private_key(pair[0])
    with pytest.raises(BuilderError) as caught:
        bundle_cipher.load_private_key(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    assert caught.value.hint == "change its form: openssl rsa -inform der -in KEY -out KEY.pem"
    certificate = load_pem_x509_certificate(pair[1]).public_bytes(Encoding.DER)
    for load in (bundle_cipher.load_public_key, bundle_cipher.fingerprint):
        with pytest.raises(BuilderError) as caught:
            load(certificate)
        assert caught.value.hint == "change its form: openssl x509 -inform der -in CERT -out CERT.pem"


def test_line_ends_of_windows(pair: tuple[bytes, bytes]) -> None:
    private, certificate = (each.replace(b"\n", b"\r\n") for each in pair)
    assert bundle_cipher.fits(bundle_cipher.load_private_key(private), certificate)
    assert bundle_cipher.fingerprint(certificate) == bundle_cipher.fingerprint(pair[1])


def test_private_keys_that_cannot_be_used(pair: tuple[bytes, bytes]) -> None:
    key = bundle_cipher.load_private_key(pair[0])
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem, said in ((locked, "pass phrase"), (curve, "not an RSA key"), (b"x", "not a private key")):
        with pytest.raises(BuilderError, match=said):
            bundle_cipher.load_private_key(pem)


def test_a_fingerprint_needs_no_cryptography() -> None:
    code = (
        "import sys; from builder.formats.bundle_cipher import fingerprint; import builder.identity;"
        "assert not {name for name in sys.modules if name.split('.')[0] in {'cryptography', 'ssl', 'botocore'}}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
