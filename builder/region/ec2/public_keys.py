"""Keys of key pairs: made, read in the forms that ImportKeyPair takes, and known by EC2's fingerprints. Pure but for
the random numbers. A private key is given to whoever asked for it, and kept nowhere.

Fingerprints (EC2 User Guide, "Verify the fingerprint of your key pair"): an RSA key that EC2 made has the SHA-1 of its
private key in PKCS#8 DER; one that was imported has the MD5 of its public key in DER; an Ed25519 key has the SHA-256
that OpenSSH shows, in base64 with its padding.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

RSA_BITS = 2048
SMALLEST_RSA_BITS = 1024
LARGEST_RSA_BITS = 4096
LARGEST_MATERIAL = 16384
_SSH2 = re.compile(r"---- BEGIN SSH2 PUBLIC KEY ----\n(.*)\n---- END SSH2 PUBLIC KEY ----", re.DOTALL)
# A header of RFC 4716, section 3.3: a backslash at its line's end continues it.
_SSH2_HEADER = re.compile(r"^[^\s:]+: (?:.*\\\n)*.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    kind: str
    """rsa or ed25519."""
    openssh: str
    """As a line of authorized_keys has it, without a comment."""
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    public: PublicKey
    private: str = field(repr=False)
    """As ssh -i reads it."""


def create_rsa() -> NewKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    inner = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    fingerprint = _in_pairs(hashlib.sha1(inner, usedforsecurity=False).hexdigest())
    return NewKey(
        public=PublicKey(kind="rsa", openssh=_openssh(key.public_key()), fingerprint=fingerprint),
        private=key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
    )


def create_ed25519() -> NewKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    return NewKey(
        public=_ed25519(key.public_key()),
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
    )


def read_public_key(material: bytes) -> PublicKey:
    """A key as it is imported: a line of OpenSSH's, RFC 4716, PEM, or DER in base64. ValueError says what is wrong."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    _refuse(material)
    try:
        key = _load(material.decode("ascii").replace("\r\n", "\n").strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no public key that can be read") from error
    if isinstance(key, RSAPublicKey):
        if not SMALLEST_RSA_BITS <= key.key_size <= LARGEST_RSA_BITS:
            raise ValueError(f"it has {key.key_size} bits, not {SMALLEST_RSA_BITS} to {LARGEST_RSA_BITS}")
        return PublicKey(kind="rsa", openssh=_openssh(key), fingerprint=_imported_rsa(key))
    if isinstance(key, Ed25519PublicKey):
        return _ed25519(key)
    raise ValueError("it is neither RSA nor Ed25519")


def _refuse(material: bytes) -> None:
    if len(material) > LARGEST_MATERIAL:
        raise ValueError(f"it has more than {LARGEST_MATERIAL} bytes")
    if b"PRIVATE KEY" in material:
        raise ValueError("it is a private key: import the public one, and let nobody have this")
    if b"\n" in material.strip() and not material.lstrip().startswith(b"----"):
        raise ValueError("it has more than one line")


def _load(text: str) -> object:
    from cryptography.hazmat.primitives.serialization import (
        load_der_public_key,
        load_pem_public_key,
        load_ssh_public_key,
    )

    if text.startswith("-----BEGIN "):
        return load_pem_public_key(text.encode())
    if match := _SSH2.fullmatch(text):
        blob = base64.b64decode("".join(_SSH2_HEADER.sub("", match[1]).split()), validate=True)
        length = int.from_bytes(blob[:4], "big")
        name = blob[4 : 4 + length].decode("ascii")
        return load_ssh_public_key(f"{name} {base64.b64encode(blob).decode()}".encode())
    if " " in text:
        return load_ssh_public_key(text.encode())
    return load_der_public_key(base64.b64decode(text, validate=True))


def _openssh(key: "RSAPublicKey | Ed25519PublicKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _imported_rsa(key: "RSAPublicKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    outer = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _in_pairs(hashlib.md5(outer, usedforsecurity=False).hexdigest())


def _ed25519(key: "Ed25519PublicKey") -> PublicKey:
    line = _openssh(key)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return PublicKey(kind="ed25519", openssh=line, fingerprint=base64.b64encode(digest).decode())


def _in_pairs(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
