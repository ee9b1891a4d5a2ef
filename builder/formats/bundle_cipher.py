"""The cryptography of EC2's bundle format, and nothing else that uses cryptography of this age.

Everything here is weak by today's measure and demanded by the format, which EC2, ec2-ami-tools and euca2ools read in
no other way: AES-128 in CBC mode without authentication, session keys wrapped with RSA PKCS #1 v1.5, signatures over
SHA-1. It protects a bundle from nobody who may read the bucket's EC2 side; integrity on the way is the business of the
part digests and of S3's checksums. Do not use it for anything new.

Certificates are used for their key only. Dates, issuer and key usage are not looked at and must not be: EC2's own
certificate ended in 2006 and is the one that EC2 uses. Certificates are told apart by fingerprint.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import BuilderError, HostError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.ciphers import CipherContext

    from builder.formats.bundle_manifest import BundleManifest

_KEY_TEXT = re.compile(rb"[0-9a-fA-F]{32}")
_IV_TEXT = re.compile(rb"(?:[0-9a-fA-F]{2}){1,16}")
_OTHER_KEY = "this private key does not open the bundle"
_CUT_SHORT = "the bundle does not decrypt: it is cut short, or the key is another one"
_DER = b"\x30\x82"
"""How keys and certificates begin in the binary form."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKey:
    """What one bundle is encrypted with; its values never show in a repr."""

    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)


def new_session_key() -> SessionKey:
    """16 random bytes for each."""
    return SessionKey(key=secrets.token_bytes(16), iv=secrets.token_bytes(16))


class Encryptor:
    """One CBC stream: AES-128, PKCS #7 padding, no salt header."""

    def __init__(self, session: SessionKey) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, modes
        from cryptography.hazmat.primitives.ciphers.algorithms import AES

        self._context: CipherContext = Cipher(AES(session.key), modes.CBC(session.iv)).encryptor()
        self._buffer = bytearray()
        self._length = 0

    def update(self, data: bytes) -> memoryview:
        """The ciphertext that is ready; valid until the next call."""
        if len(self._buffer) < len(data) + 15:
            self._buffer = bytearray(len(data) + 15)
        self._length += len(data)
        return memoryview(self._buffer)[: self._context.update_into(data, self._buffer)]

    def finish(self) -> bytes:
        """The padded end: a whole block of padding when the plain text was a multiple of 16."""
        pad = 16 - self._length % 16
        return self._context.update(bytes([pad]) * pad) + self._context.finalize()


class Decryptor:
    """The way back. The last block is held until the end is known: it has the padding."""

    def __init__(self, session: SessionKey) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, modes
        from cryptography.hazmat.primitives.ciphers.algorithms import AES

        self._context: CipherContext = Cipher(AES(session.key), modes.CBC(session.iv)).decryptor()
        self._buffer = bytearray()
        self._held = b""

    def update(self, data: bytes) -> memoryview:
        """The plain text that is ready; valid until the next call."""
        if len(self._buffer) < len(data) + 31:
            self._buffer = bytearray(len(data) + 31)
        buffer = memoryview(self._buffer)
        start = len(self._held)
        buffer[:start] = self._held
        end = start + self._context.update_into(data, buffer[start:])
        ready = max(end - 16, 0)
        self._held = bytes(buffer[ready:end])
        return buffer[:ready]

    def finish(self) -> bytes:
        """The end without its padding. BuilderError when the stream is cut short or the key is another one."""
        try:
            self._context.finalize()
        except ValueError as error:
            raise BuilderError(_CUT_SHORT) from error
        pad = self._held[-1] if self._held else 0
        if not 1 <= pad <= 16 or not self._held.endswith(bytes([pad]) * pad):
            raise BuilderError(_CUT_SHORT)
        return self._held[:-pad]


def fingerprint(pem: bytes, where: str = "the certificate") -> str:
    """SHA-256 of the DER form of the first certificate, in hex. Needs no cryptography: a warm plan asks for it."""
    found = _CERTIFICATE.search(pem)
    try:
        if found is None:
            raise ValueError("no certificate")
        return hashlib.sha256(base64.b64decode(b"".join(found[1].split()), validate=True)).hexdigest()
    except (ValueError, binascii.Error) as error:
        raise BuilderError(
            f"{where} is not a certificate in PEM form",
            hint="change its form: openssl x509 -inform der -in CERT -out CERT.pem"
            if pem.startswith(_DER)
            else "give an X.509 certificate that starts with -----BEGIN CERTIFICATE-----",
        ) from error


def load_public_key(pem: bytes, where: str = "the certificate") -> "RSAPublicKey":
    """The RSA key of a certificate, of X.509 version 1 too."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    fingerprint(pem, where)
    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError as error:
        raise BuilderError(f"{where} is not a certificate that can be read", detail=str(error)) from error
    if not isinstance(key, RSAPublicKey):
        raise BuilderError(f"{where} has no RSA key", hint="EC2 bundles know RSA only: make a certificate with one")
    return key


def load_private_key(pem: bytes, where: str = "the private key") -> "RSAPrivateKey":
    """An RSA private key without a pass phrase, PKCS #1 or PKCS #8."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise BuilderError(
            f"{where} is protected by a pass phrase", hint="take it off: openssl rsa -in KEY -out KEY.plain"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "change its form: openssl rsa -inform der -in KEY -out KEY.pem" if pem.startswith(_DER) else ""
        raise BuilderError(f"{where} is not a private key in PEM form", hint=hint) from error
    if not isinstance(key, RSAPrivateKey):
        raise BuilderError(f"{where} is not an RSA key", hint="EC2 bundles know RSA only")
    return key


def make_pair(common_name: str = "ami-factory bundles") -> tuple[bytes, bytes]:
    """A new private key and a certificate of its own for it, both PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return private, make_certificate(key, common_name)


def make_certificate(key: "RSAPrivateKey", common_name: str = "ami-factory bundles") -> bytes:
    """A certificate of the key's own, PEM. Readers use its key only, not names or dates."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    begin = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2100))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def fits(private_key: "RSAPrivateKey", certificate: bytes) -> bool:
    """Whether the key is the private half of the certificate's."""
    return private_key.public_key().public_numbers() == load_public_key(certificate).public_numbers()


def wrap(secret: bytes, public_key: "RSAPublicKey") -> str:
    """A session key or IV for one reader. What is wrapped is the hex text, not the bytes. Random at every call."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    return public_key.encrypt(secret.hex().encode("ascii"), PKCS1v15()).hex()


def unwrap(wrapped: str, private_key: "RSAPrivateKey") -> bytes:
    """The way back. BuilderError when the key is another one."""
    text = _decrypt(bytes.fromhex(wrapped), private_key)
    if _KEY_TEXT.fullmatch(text) is None:
        raise BuilderError(_OTHER_KEY)
    return bytes.fromhex(text.decode("ascii"))


def unwrap_pair(key: str, iv: str, private_key: "RSAPrivateKey") -> SessionKey:
    """Both, as they are wrapped for one reader. BuilderError when the key is another one.

    A short IV, as Scalarizr wrote it, is filled up with zeros on its right: so openssl took it when it encrypted.
    """
    opened = unwrap(key, private_key)
    text = _decrypt(bytes.fromhex(iv), private_key)
    if _IV_TEXT.fullmatch(text) is None:
        raise BuilderError(_OTHER_KEY)
    return SessionKey(key=opened, iv=bytes.fromhex(text.decode("ascii").ljust(32, "0")))


def unwrap_session(manifest: "BundleManifest", private_key: "RSAPrivateKey") -> SessionKey:
    """The session key as it is wrapped for the user, or else for EC2. BuilderError when this key opens neither."""
    for key, iv in (
        (manifest.user_encrypted_key, manifest.user_encrypted_iv),
        (manifest.ec2_encrypted_key, manifest.ec2_encrypted_iv),
    ):
        try:
            return unwrap_pair(key, iv, private_key)
        except BuilderError:
            continue
    raise BuilderError(_OTHER_KEY, hint="give the private key of the certificate that the bundle was made with")


def open_envelope(wrapped: bytes, ciphertext: bytes, private_key: "RSAPrivateKey") -> bytes:
    """What is encrypted with a key and IV that were wrapped as bytes, not as text: manifests of old are."""
    secret = _decrypt(wrapped, private_key)
    if len(secret) != 32:
        raise BuilderError("this private key does not open the manifest")
    cipher = Decryptor(SessionKey(key=secret[:16], iv=secret[16:]))
    return bytes(cipher.update(ciphertext)) + cipher.finish()


def _decrypt(wrapped: bytes, private_key: "RSAPrivateKey") -> bytes:
    """What is in an RSA cipher text; nothing, or random bytes, when the key is another one.

    OpenSSL 3.2 and newer answer a wrong padding with random bytes, not with an error: look at what comes out.
    """
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    try:
        # A writer that prints it as a number loses zeros in front.
        return private_key.decrypt(wrapped.rjust(_bytes_of(private_key), b"\0"), PKCS1v15())
    except ValueError:
        return b""


def sign(data: bytes, private_key: "RSAPrivateKey") -> bytes:
    """RSA, PKCS #1 v1.5, SHA-1."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA1

    with _sha1_is_allowed():
        return private_key.sign(data, PKCS1v15(), SHA1())


def verify(data: bytes, signature: bytes, public_key: "RSAPublicKey") -> bool:
    """Whether `signature` is over exactly these bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA1

    try:
        with _sha1_is_allowed():
            public_key.verify(signature.rjust(_bytes_of(public_key), b"\0"), data, PKCS1v15(), SHA1())
    except InvalidSignature:
        return False
    return True


@contextmanager
def _sha1_is_allowed() -> Iterator[None]:
    """HostError where it is not: by the default policy of RHEL 9 and Fedora 41, for their own OpenSSL."""
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm

    try:
        yield
    except (UnsupportedAlgorithm, InternalError) as error:
        raise HostError(
            "this machine's OpenSSL has no signatures over SHA-1, which EC2's bundles demand",
            hint="use the cryptography package from PyPI (it brings its own OpenSSL), or run: "
            "update-crypto-policies --set DEFAULT:SHA1",
        ) from error


def _bytes_of(key: "RSAPrivateKey | RSAPublicKey") -> int:
    """Of a ciphertext or signature of this key."""
    return -(-key.key_size // 8)
